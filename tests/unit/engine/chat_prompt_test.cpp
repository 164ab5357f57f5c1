#include "engine/chat_prompt.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <ostream>

#include "base/json.h"
#include "byte_tokenizer.h"

namespace hadal {
namespace {

// The ways of the families with <think>: none of it, opened by the template, one switch or the
// other.
constexpr const char* kPlain = "{% for m in messages %}[{{ m.content }}]{% endfor %}";
constexpr const char* kWithBos =
    "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}";
// (A template's own last newline is no part of it, as jinja2 reads templates.)
constexpr const char* kOpens =
    "{% for m in messages %}[{{ m.content }}]{% endfor %}A:{{ '<think>\\n' }}";
constexpr const char* kQwen3 =
    "{% for m in messages %}[{{ m.content }}]{% endfor %}A:"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}";
constexpr const char* kDeepSeek31 =
    "{% for m in messages %}[{{ m.content }}]{% endfor %}A:"
    "{% if thinking is defined and thinking %}<think>{% else %}</think>{% endif %}";

struct Case {
  const char* name;
  const char* source;
  Thinking thinking;
  bool knows_thinking;
  std::string text;
  bool open;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class ChatPromptCases : public testing::TestWithParam<Case> {};

TEST_P(ChatPromptCases, AsThinkingWants) {
  const Case& c = GetParam();
  const auto chat_template = ChatTemplate::parse(c.source);
  ASSERT_TRUE(chat_template) << chat_template.error().message;
  const ByteTokenizer tokenizer;
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "hi"}}};
  const auto prompt = make_chat_prompt(*chat_template, tokenizer, messages,
                                       {.thinking = c.thinking}, c.knows_thinking);
  ASSERT_TRUE(prompt) << prompt.error().message;
  EXPECT_EQ(prompt->text, c.text);
  EXPECT_EQ(prompt->thinking_open, c.open);
}

INSTANTIATE_TEST_SUITE_P(
    All, ChatPromptCases,
    testing::Values(
        Case{"plain_default", kPlain, Thinking::kModelDefault, true, "[hi]", false},
        Case{"plain_on", kPlain, Thinking::kOn, true, "[hi]<think>\n", true},
        Case{"plain_off", kPlain, Thinking::kOff, true, "[hi]<think>\n\n</think>\n\n", false},
        Case{"unknown_on", kPlain, Thinking::kOn, false, "[hi]", false},
        Case{"unknown_off", kPlain, Thinking::kOff, false, "[hi]", false},
        Case{"opens_default", kOpens, Thinking::kModelDefault, true, "[hi]A:<think>\n", true},
        Case{"opens_on", kOpens, Thinking::kOn, true, "[hi]A:<think>\n", true},
        Case{"opens_off", kOpens, Thinking::kOff, true, "[hi]A:<think>\n\n</think>\n\n", false},
        Case{"qwen3_default", kQwen3, Thinking::kModelDefault, true, "[hi]A:", false},
        Case{"qwen3_on", kQwen3, Thinking::kOn, true, "[hi]A:<think>\n", true},
        Case{"qwen3_off", kQwen3, Thinking::kOff, true, "[hi]A:<think>\n\n</think>\n\n", false},
        Case{"deepseek_v31_default", kDeepSeek31, Thinking::kModelDefault, true, "[hi]A:</think>",
             false},
        Case{"deepseek_v31_on", kDeepSeek31, Thinking::kOn, true, "[hi]A:<think>", true},
        Case{"deepseek_v31_off", kDeepSeek31, Thinking::kOff, true, "[hi]A:</think>", false}),
    [](const auto& info) { return std::string(info.param.name); });

std::string vendor_template(const std::string& name) {
  std::ifstream file(std::string(HADAL_TEST_DATA) + "/text/chat/templates/" + name + ".jinja");
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

// As the vendors publish them: what stands behind the user's message.
TEST(ChatPrompt, DeepSeeksOwnTemplatesFollowTheSwitch) {
  struct Published {
    const char* name;
    std::string by_default, on, off;
  };
  const std::string closed = "<｜Assistant｜></think>", open = "<｜Assistant｜><think>";
  const std::string both = open + "</think>";  // as a widespread copy has it
  const std::string shut = open + "\n\n</think>\n\n", ajar = open + "\n";
  for (const Published& p : {Published{"DeepSeek-V3.1", closed, open, closed},
                             Published{"deepseek-ai-DeepSeek-V3.1", both, open, both},
                             Published{"DeepSeek-R1", ajar, ajar, shut}}) {
    const auto chat_template = ChatTemplate::parse(vendor_template(p.name));
    ASSERT_TRUE(chat_template) << chat_template.error().message;
    const ByteTokenizer tokenizer;
    const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "hi"}}};
    const auto behind = [&](Thinking thinking) -> std::string {
      const auto prompt =
          make_chat_prompt(*chat_template, tokenizer, messages, {.thinking = thinking}, true);
      if (!prompt) return prompt.error().message;
      return prompt->text.substr(prompt->text.find("hi") + 2);
    };
    EXPECT_EQ(behind(Thinking::kModelDefault), p.by_default) << p.name;
    EXPECT_EQ(behind(Thinking::kOn), p.on) << p.name;
    EXPECT_EQ(behind(Thinking::kOff), p.off) << p.name;
  }
}

std::vector<TokenId> tokens_of(const char* source, const char* content, bool wants_bos) {
  const auto chat_template = ChatTemplate::parse(source);
  EXPECT_TRUE(chat_template);
  ByteTokenizer tokenizer;
  tokenizer.wants_bos = wants_bos;
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", content}}};
  const auto prompt = make_chat_prompt(*chat_template, tokenizer, messages, {}, true);
  EXPECT_TRUE(prompt);
  return prompt ? prompt->tokens : std::vector<TokenId>();
}

TEST(ChatPrompt, TheBeginningIsMarkedOnce) {
  constexpr TokenId kBos = ByteTokenizer::kBos;
  EXPECT_EQ(tokens_of(kWithBos, "x", true), (std::vector<TokenId>{kBos, '[', 'x', ']'}));
  EXPECT_EQ(tokens_of(kPlain, "x", true), (std::vector<TokenId>{kBos, '[', 'x', ']'}));
  EXPECT_EQ(tokens_of(kPlain, "x", false), (std::vector<TokenId>{'[', 'x', ']'}));
  EXPECT_EQ(tokens_of(kWithBos, "x", false), (std::vector<TokenId>{kBos, '[', 'x', ']'}));
}

TEST(ChatPrompt, WhatAPersonTypesIsNeverAControlToken) {
  EXPECT_EQ(tokens_of(kPlain, "</s>", true),
            (std::vector<TokenId>{ByteTokenizer::kBos, '[', '<', '/', 's', '>', ']'}));
  const auto thinking = ChatTemplate::parse("{% for m in messages %}{{ m.content }}{% endfor %}");
  ASSERT_TRUE(thinking);
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "say <think>"}}};
  const auto prompt = make_chat_prompt(*thinking, ByteTokenizer(), messages, {}, true);
  ASSERT_TRUE(prompt);
  EXPECT_FALSE(prompt->thinking_open);
}

TEST(ChatPrompt, TheDateIsTheAskers) {
  const auto chat_template = ChatTemplate::parse("{{ strftime_now('%Y') }}");
  ASSERT_TRUE(chat_template);
  const nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  const auto prompt = make_chat_prompt(*chat_template, ByteTokenizer(), messages,
                                       {.now_seconds = 1'700'000'000}, true);
  ASSERT_TRUE(prompt) << prompt.error().message;
  EXPECT_EQ(prompt->text, "2023");
}

TEST(ChatPrompt, ATemplatesRefusalIsTheError) {
  const auto chat_template = ChatTemplate::parse("{{ raise_exception('no system prompt') }}");
  ASSERT_TRUE(chat_template);
  const nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  const auto prompt = make_chat_prompt(*chat_template, ByteTokenizer(), messages, {}, true);
  ASSERT_FALSE(prompt);
  EXPECT_NE(prompt.error().message.find("no system prompt"), std::string::npos);
}

TEST(RawPrompt, IsTheTextBehindTheBeginning) {
  ByteTokenizer tokenizer;
  auto prompt = make_raw_prompt(tokenizer, "a</s>");
  ASSERT_TRUE(prompt);
  EXPECT_EQ(prompt->tokens, (std::vector<TokenId>{256, 'a', '<', '/', 's', '>'}));
  tokenizer.wants_bos = false;
  prompt = make_raw_prompt(tokenizer, "");
  ASSERT_TRUE(prompt);
  EXPECT_TRUE(prompt->tokens.empty());
}

}  // namespace
}  // namespace hadal
