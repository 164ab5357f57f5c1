#include "text/tool_calls.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "text/text_stream.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

// Mentions every form.
constexpr std::string_view kAllForms = "<｜tool▁calls▁begin｜> ｜DSML｜ <tool_call>";

struct Outcome {
  std::string thinking, text;
  std::vector<ToolCall> calls;
};

Outcome read(const std::vector<std::string>& pieces, std::string_view chat_template = kAllForms) {
  TextStream stream({});
  ToolCallStream tools(chat_template);
  Outcome outcome;
  const auto add = [&](ToolCallDelta delta) {
    outcome.text += delta.text;
    for (ToolCall& call : delta.calls) outcome.calls.push_back(std::move(call));
  };
  const auto take = [&](const TextDelta& delta) {
    outcome.thinking += delta.thinking;
    add(tools.push(delta.answer));
  };
  for (const std::string& piece : pieces) take(stream.push(piece));
  take(stream.finish());
  add(tools.finish());
  EXPECT_EQ(tools.calls(), outcome.calls.size());
  return outcome;
}

// Calls as [name](arguments), in one line.
std::string shown(const Outcome& outcome) {
  std::string line = outcome.text;
  for (const ToolCall& call : outcome.calls) line += "[" + call.name + "](" + call.arguments + ")";
  return line;
}

// The same whole, byte by byte and cut anywhere.
std::string in_every_cut(const std::string& text) {
  const std::string whole = shown(read({text}));
  std::vector<std::string> bytes;
  for (const char c : text) bytes.emplace_back(1, c);
  EXPECT_EQ(shown(read(bytes)), whole);
  for (size_t cut = 1; cut < text.size(); ++cut) {
    EXPECT_EQ(shown(read({text.substr(0, cut), text.substr(cut)})), whole) << "cut at " << cut;
  }
  return whole;
}

// --- recorded streams ---

std::vector<std::string> fixtures() {
  const std::filesystem::path folder =
      std::filesystem::path(HADAL_TEST_DATA) / "text/stream-fixtures";
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".json") names.push_back(relative(entry.path(), folder));
  }
  std::ranges::sort(names);
  return names;
}

class RecordedStream : public testing::TestWithParam<std::string> {};

TEST_P(RecordedStream, GivesThoughtTextAndCalls) {
  std::ifstream file(std::filesystem::path(HADAL_TEST_DATA) / "text/stream-fixtures" / GetParam());
  const Json recorded = Json::parse(file);
  std::vector<std::string> pieces;
  std::string whole;
  for (const Json& chunk : recorded["input_stream"]) {
    if (!chunk.contains("data") || !chunk["data"].is_object()) continue;  // "[DONE]"
    for (const Json& choice : chunk["data"].at("choices")) {
      const Json content = choice.at("delta").value("content", Json());
      if (!content.is_string()) continue;
      pieces.push_back(content);
      whole += pieces.back();
    }
  }
  const Json& expected = recorded["expected_output"];
  for (const auto& cut : {pieces, std::vector<std::string>{whole}}) {
    const Outcome outcome = read(cut);
    EXPECT_EQ(outcome.thinking, expected.value("reasoning_content", ""));
    // What stands between thought and call is white space that a TextStream drops.
    const std::string text = expected.value("normal_content", "");
    EXPECT_EQ(outcome.text, text.substr(std::min(text.find_first_not_of('\n'), text.size())));
    ASSERT_EQ(outcome.calls.size(), expected.at("tool_calls").size());
    for (size_t i = 0; i < outcome.calls.size(); ++i) {
      const Json& call = expected.at("tool_calls")[i].at("function");
      EXPECT_EQ(outcome.calls[i].name, call["name"]);
      EXPECT_EQ(outcome.calls[i].arguments, call["arguments"]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Vendors, RecordedStream, testing::ValuesIn(fixtures()),
                         [](const testing::TestParamInfo<std::string>& info) {
                           std::string name = info.param;
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

// --- made ones ---

TEST(ToolCalls, AreCutOutOfTheText) {
  EXPECT_EQ(
      in_every_cut("Hm <tool\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1]}}\n"
                   "</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>  ok <"),
      "Hm <tool\nok <[f]({\"x\":[1]})[g]({})");
  EXPECT_EQ(in_every_cut(
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>天气<｜tool▁sep｜>{\"城市\": \"北京\"}"
                "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
            "[天气]({\"城市\": \"北京\"})");
  EXPECT_EQ(
      in_every_cut(
          "<｜DSML｜function_calls><｜DSML｜invoke name=\"f\">"
          "<｜DSML｜parameter name=\"a\" string=\"false\">[1, 2]</｜DSML｜parameter>"
          "<｜DSML｜parameter name=\"b\" string=\"true\">1</｜DSML｜parameter>"
          "</｜DSML｜invoke><｜DSML｜invoke name=\"g\"></｜DSML｜invoke></｜DSML｜function_calls>"),
      "[f]({\"a\": [1, 2], \"b\": \"1\"})[g]({})");
}

TEST(ToolCalls, AFenceMayHoldTheArguments) {
  EXPECT_EQ(
      shown(read({"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
                  "{\"code\": \"```x```\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"})),
      "[f]({\"code\": \"```x```\"})");
}

TEST(ToolCalls, WhatDoesNotParseStaysText) {
  for (const std::string text : {
           "<tool_call>{\"name\": \"f\", \"arguments\": {</tool_call>",
           "<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>",
           "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>",
           "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
           "<tool_call></tool_call>",
           "<tool_call>{\"name\": \"f\"",
           "<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>",
           "<｜tool▁calls▁begin｜>x<｜tool▁calls▁end｜>",
           "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁calls▁end｜>",
           "<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a\" "
           "string=\"false\">"
           "no</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜tool_calls>",
           "<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\"></｜DSML｜tool_calls>",
       }) {
    EXPECT_EQ(in_every_cut(text), text);
  }
}

TEST(ToolCalls, OnlyTheTemplatesFormsAreLookedFor) {
  const std::string text = "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>";
  EXPECT_EQ(shown(read({text}, "{{ '<｜tool▁calls▁begin｜>' }}")), text);
  EXPECT_EQ(shown(read({text}, "<tool_call>")), "[f]({})");
  EXPECT_FALSE(ToolCallStream("{{ messages }}").looks_for_calls());
}

TEST(ToolCalls, AreBounded) {
  const std::string call = "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>";
  std::string many;
  for (size_t i = 0; i <= ToolCallStream::kCallsMax; ++i) many += call;
  const Outcome outcome = read({many});
  EXPECT_EQ(outcome.calls.size(), ToolCallStream::kCallsMax);
  EXPECT_EQ(outcome.text, call);

  const std::string deep =
      "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":" + std::string(100'000, '[') +
      std::string(100'000, ']') + "}}</tool_call>";
  EXPECT_EQ(read({deep}).text, deep);

  const std::string endless =
      "<tool_call>" + std::string(2 * ToolCallStream::kSectionBytesMax, 'x');
  std::vector<std::string> pieces;
  for (size_t at = 0; at < endless.size(); at += 16) pieces.push_back(endless.substr(at, 16));
  EXPECT_EQ(read(pieces).text, endless);
}

}  // namespace
}  // namespace hadal
