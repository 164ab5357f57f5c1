// The language itself: small templates against jinja2's answers.
#include "text/template/jinja_interpreter.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "text/chat_template.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

std::tm saturday() {
  std::tm time = {};
  time.tm_year = 2024 - 1900;
  time.tm_mon = 6;
  time.tm_mday = 6;
  time.tm_hour = 15;
  time.tm_min = 4;
  time.tm_sec = 9;
  time.tm_wday = 6;
  time.tm_yday = 187;
  return time;
}

TEST(JinjaInterpreter, AnswersSnippetsAsJinja2) {
  std::ifstream file(std::string(HADAL_TEST_DATA) + "/text/chat/snippets.json");
  const Json snippets = Json::parse(file, nullptr, false);
  ASSERT_GT(snippets["rows"].size(), 300u);
  for (const Json& row : snippets["rows"]) {
    const std::string source = row["template"].get<std::string>();
    SCOPED_TRACE(source);
    const auto parsed = ChatTemplate::parse(source);
    const auto rendered = [&]() -> Result<RenderedPrompt> {
      if (!parsed) return forward_error(parsed);
      return parsed->render({.variables = &snippets["variables"], .local_time = saturday()});
    }();
    if (row.contains("text")) {
      EXPECT_EQ(rendered ? rendered->text() : rendered.error().message,
                row["text"].get<std::string>());
    } else if (rendered) {
      ADD_FAILURE() << "rendered as: " << rendered->text();
    } else {
      const std::string& message = rendered.error().message;
      EXPECT_NE(message.find(row["error"].get<std::string>()), message.npos) << message;
    }
  }
}

}  // namespace
}  // namespace hadal
