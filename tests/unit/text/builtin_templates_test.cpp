#include "text/builtin_templates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "base/json.h"
#include "text/chat_template.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBegin = "<｜begin▁of▁sentence｜>";
constexpr std::string_view kEnd = "<｜end▁of▁sentence｜>";

Result<RenderedPrompt> render(std::string_view source, const Json& messages,
                              const Json& variables = Json::object(), const Json* tools = nullptr) {
  HADAL_TRY(const ChatTemplate chat, ChatTemplate::parse(source));
  return chat.render(
      {.messages = &messages,
       .tools = tools,
       .variables = &variables,
       .special_tokens = {{"bos_token", std::string(kBegin)}, {"eos_token", std::string(kEnd)}}});
}

std::string text_of(const Result<RenderedPrompt>& prompt) {
  return prompt ? prompt->text() : "error: " + prompt.error().message;
}

std::string vendor_template(const std::string& name) {
  std::ifstream file(std::string(HADAL_TEST_DATA) + "/text/chat/templates/" + name + ".jinja");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const Json kChat = Json::parse(R"([
  {"role": "system", "content": "你是助手"}, {"role": "user", "content": "q1"},
  {"role": "assistant", "content": "a1"}, {"role": "user", "content": "q2"}])");

struct Case {
  TemplateEvidence evidence;
  std::set<std::string_view> tokens;
  std::string_view expected;  // of kChat
};

TEST(BuiltinTemplates, AreFoundByWhatIsKnownOfTheModel) {
  constexpr std::string_view r1 =
      "<｜begin▁of▁sentence｜>你是助手<｜User｜>q1<｜Assistant｜>a1<｜end▁of▁sentence｜><｜User｜>"
      "q2"
      "<｜Assistant｜><think>\n";
  constexpr std::string_view v3 =
      "<｜begin▁of▁sentence｜>你是助手<｜User｜>q1<｜Assistant｜>a1<｜end▁of▁sentence｜><｜User｜>"
      "q2"
      "<｜Assistant｜>";
  constexpr std::string_view v31 =
      "<｜begin▁of▁sentence｜>你是助手<｜User｜>q1<｜Assistant｜></think>a1<｜end▁of▁sentence｜>"
      "<｜User｜>q2<｜Assistant｜></think>";
  constexpr std::string_view v2 =
      "<｜begin▁of▁sentence｜>你是助手\n\nUser: q1\n\nAssistant: a1<｜end▁of▁sentence｜>User: "
      "q2\n\nAssistant:";
  constexpr std::string_view coder =
      "<｜begin▁of▁sentence｜>你是助手### Instruction:\nq1\n### Response:\na1\n<|EOT|>\n"
      "### Instruction:\nq2\n### Response:\n";
  constexpr std::string_view chatml =
      "<|im_start|>system\n你是助手<|im_end|>\n<|im_start|>user\nq1<|im_end|>\n"
      "<|im_start|>assistant\na1<|im_end|>\n<|im_start|>user\nq2<|im_end|>\n"
      "<|im_start|>assistant\n";
  constexpr std::string_view llama3 =
      "<｜begin▁of▁sentence｜><|start_header_id|>system<|end_header_id|>\n\n你是助手<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nq1<|eot_id|><|start_header_id|>assistant"
      "<|end_header_id|>\n\na1<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nq2<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n";
  const Case cases[] = {
      {{.architecture = "deepseek2", .name = "DeepSeek-R1"}, {}, r1},
      {{.architecture = "deepseek2", .name = "DeepSeek_R1_0528", .pre_tokenizer = "deepseek-v3"},
       {"<｜User｜>"},
       r1},
      {{.architecture = "qwen2", .name = "DeepSeek-R1-Distill-Qwen-1.5B"}, {"<｜User｜>"}, r1},
      {{.architecture = "llama", .name = "model"}, {"<｜User｜>", "<|eot_id|>"}, r1},
      {{.architecture = "qwen3", .name = "x"}, {"<｜User｜>", "<|im_start|>", "<|im_end|>"}, r1},
      {{.architecture = "deepseek2", .name = "DeepSeek-V3-0324"}, {}, v3},
      {{.architecture = "deepseek2", .name = "x", .pre_tokenizer = "deepseek-v3"}, {}, v3},
      {{.architecture = "deepseek2", .name = "DeepSeek-V2.5"}, {}, v3},
      {{.architecture = "deepseek2", .name = "DeepSeek V3.1 Terminus"}, {}, v31},
      {{.architecture = "deepseek_v3", .name = "deepseek-v3-1"}, {}, v31},
      {{.architecture = "deepseek2", .name = "DeepSeek-V2-Lite-Chat"}, {}, v2},
      {{.architecture = "deepseek2", .name = "DeepSeek-Coder-V2-Instruct"}, {"<|EOT|>"}, v2},
      {{.architecture = "llama", .name = "deepseek-llm-7b-chat", .pre_tokenizer = "deepseek-llm"},
       {},
       v2},
      {{.architecture = "llama", .name = "x", .pre_tokenizer = "deepseek-llm"}, {}, v2},
      {{.architecture = "llama",
        .name = "deepseek-coder-6.7b-instruct",
        .pre_tokenizer = "deepseek-coder"},
       {},
       coder},
      {{.architecture = "llama", .name = "SmolLM"}, {"<|im_start|>", "<|im_end|>"}, chatml},
      {{.architecture = "qwen2"}, {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}, chatml},
      {{.architecture = "llama"}, {"<|start_header_id|>", "<|eot_id|>"}, llama3},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.evidence.name);
    TemplateEvidence evidence = one.evidence;
    evidence.has_token = [&](std::string_view token) { return one.tokens.contains(token); };
    const auto source = builtin_template(evidence);
    ASSERT_TRUE(source);
    EXPECT_EQ(text_of(render(*source, kChat)), one.expected);
  }
}

TEST(BuiltinTemplates, AreNotMadeUpForModelsThatDoNotChat) {
  EXPECT_FALSE(builtin_template({}));
  EXPECT_FALSE(builtin_template({.architecture = "llama", .name = "stories260K"}));
  EXPECT_FALSE(builtin_template({.architecture = "gpt2", .pre_tokenizer = "gpt-2"}));
}

bool has_tools(const Json& row) {
  return row["variables"].contains("tools") ||
         std::any_of(row["messages"].begin(), row["messages"].end(), [](const Json& message) {
           return message.is_object() &&
                  (message.contains("tool_calls") || message.value("role", "") == "tool");
         });
}

// On every conversation that the vendor's own template renders; of those with tools, where the
// vendors' templates have quirks of their own, only on the named ones.
void expect_vendors_answers(const TemplateEvidence& evidence, const std::string& vendor,
                            const std::set<std::string>& with_tools, size_t cases_min) {
  const auto source = builtin_template(evidence);
  ASSERT_TRUE(source);
  std::ifstream file(std::string(HADAL_TEST_DATA) + "/text/chat/conversations.json");
  const Json conversations = Json::parse(file, nullptr, false);
  size_t cases = 0;
  for (const Json& row : conversations["rows"]) {
    const std::string name = row["name"].get<std::string>();
    if (has_tools(row) && !with_tools.contains(name)) continue;
    if (name == "answer none" || row["variables"].contains("enable_thinking")) continue;
    const auto expected = render(vendor_template(vendor), row["messages"], row["variables"]);
    if (!expected) continue;
    EXPECT_TRUE(text_of(render(*source, row["messages"], row["variables"])) == expected->text())
        << vendor << ", " << name;
    cases++;
  }
  EXPECT_GE(cases, cases_min);
}

TEST(BuiltinTemplates, AnswerAsTheVendorsTemplatesDo) {
  const std::set<std::string> tools = {"call, text arguments", "call, text and content",
                                       "two calls, text"};
  expect_vendors_answers({.name = "DeepSeek-V2-Chat"}, "DeepSeek-V2", {}, 40);
  expect_vendors_answers({.name = "DeepSeek-R1"}, "DeepSeek-R1", tools, 40);
  expect_vendors_answers({.name = "DeepSeek-V3"}, "DeepSeek-V3", {}, 40);
  expect_vendors_answers({.name = "DeepSeek-V3.1"}, "DeepSeek-V3.1", tools, 40);
}

TEST(BuiltinTemplates, OpenAThoughtWhereTheModelDoes) {
  const auto opens = [](std::string_view name, const Json& variables) {
    const auto prompt = render(*builtin_template({.name = name}), kChat, variables);
    return prompt && prompt->opens_thinking();
  };
  EXPECT_TRUE(opens("DeepSeek-R1", Json::object()));
  EXPECT_FALSE(opens("DeepSeek-V3", Json::object()));
  EXPECT_FALSE(opens("DeepSeek-V3.1", Json::object()));
  EXPECT_TRUE(opens("DeepSeek-V3.1", {{"thinking", true}}));
  EXPECT_TRUE(opens("DeepSeek-V3.1", {{"enable_thinking", true}}));
  EXPECT_FALSE(opens("DeepSeek-V3.1", {{"enable_thinking", false}}));
}

TEST(BuiltinTemplates, TellV31AboutItsTools) {
  const Json tools = Json::parse(R"([{"type": "function", "function": {
      "name": "now", "description": "The time", "parameters": {"type": "object"}}}])");
  const auto prompt =
      render(*builtin_template({.name = "DeepSeek-V3.1"}), kChat, Json::object(), &tools);
  ASSERT_TRUE(prompt) << prompt.error().message;
  EXPECT_NE(prompt->text().find("\n\n## Tools\nYou have access to the following tools:\n\n### now\n"
                                "Description: The time\n\nParameters: {\"type\": \"object\"}\n\n"
                                "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
                                "<｜tool▁calls▁begin｜>"),
            std::string::npos)
      << prompt->text();
}

}  // namespace
}  // namespace hadal
