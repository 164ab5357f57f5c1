// Whole chat templates: every vendor's template in tests/data/text/chat against jinja2's answers,
// and who is trusted in the result.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

const std::filesystem::path kData = std::filesystem::path(HADAL_TEST_DATA) / "text/chat";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << path;
  return text.str();
}

Json read_json(const std::filesystem::path& path) {
  return Json::parse(read_file(path), nullptr, false);
}

std::vector<std::string> template_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kData / "templates")) {
    names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A conversation of conversations.json, as render() takes it.
struct Conversation {
  explicit Conversation(const Json& row) : messages(row["messages"]), variables(row["variables"]) {
    inputs.messages = &messages;
    if (variables.contains("tools")) {
      tools = variables["tools"];
      variables.erase("tools");
      inputs.tools = &tools;
    }
    if (variables.contains("add_generation_prompt")) {
      inputs.add_generation_prompt = variables["add_generation_prompt"];
      variables.erase("add_generation_prompt");
    }
    inputs.variables = &variables;
  }
  Json messages, variables, tools;
  TemplateInputs inputs;
};

class ChatTemplateVectors : public testing::TestWithParam<std::string> {};

TEST_P(ChatTemplateVectors, RendersWhatJinja2Renders) {
  const std::string source = read_file(kData / "templates" / (GetParam() + ".jinja"));
  const auto parsed = ChatTemplate::parse(source);
  ASSERT_TRUE(parsed) << parsed.error().message;
  const Json conversations = read_json(kData / "conversations.json");
  const Json vectors = read_json(kData / "vectors" / (GetParam() + ".json"));
  ASSERT_EQ(conversations["rows"].size(), vectors["rows"].size());
  ASSERT_GT(vectors["rows"].size(), 100u);
  for (size_t i = 0; i < vectors["rows"].size(); i++) {
    const Json& expected = vectors["rows"][i];
    SCOPED_TRACE(conversations["rows"][i]["name"].get<std::string>());
    Conversation conversation(conversations["rows"][i]);
    for (const auto& [name, token] : vectors["special_tokens"].items()) {
      conversation.inputs.special_tokens.emplace_back(name, token.get<std::string>());
    }
    const auto prompt = parsed->render(conversation.inputs);
    if (expected.contains("text")) {
      ASSERT_TRUE(prompt) << prompt.error().message;
      EXPECT_EQ(prompt->text(), expected["text"].get<std::string>());
    } else {
      ASSERT_FALSE(prompt) << prompt->text();
      EXPECT_NE(prompt.error().message.find(expected["error"].get<std::string>()),
                std::string::npos)
          << prompt.error().message;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Vendors, ChatTemplateVectors, testing::ValuesIn(template_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

}  // namespace
}  // namespace hadal
