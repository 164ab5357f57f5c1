#include "text/text_stream.h"

#include <gtest/gtest.h>

#include "text/unicode.h"
#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal {
namespace {

using testing::RandomText;

struct Outcome {
  std::string thinking, answer, stop;
  bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& o, std::ostream* out) {
  *out << "thinking '" << o.thinking << "', answer '" << o.answer << "', stop '" << o.stop << "'";
}

// Streams the text in the given pieces; every delta must be valid UTF-8.
Outcome stream(const TextStreamOptions& options, const std::vector<std::string>& pieces) {
  TextStream stream(options);
  Outcome outcome;
  const auto add = [&](const TextDelta& delta) {
    EXPECT_EQ(valid_utf8_prefix(delta.thinking), delta.thinking.size());
    EXPECT_EQ(valid_utf8_prefix(delta.answer), delta.answer.size());
    outcome.thinking += delta.thinking;
    outcome.answer += delta.answer;
  };
  for (const std::string& piece : pieces) add(stream.push(piece));
  add(stream.finish());
  add(stream.finish());  // nothing more
  EXPECT_EQ(stream.stopped(), !stream.stop_string().empty());
  outcome.stop = stream.stop_string();
  return outcome;
}

Outcome whole(const TextStreamOptions& options, const std::string& text) {
  return stream(options, {text});
}

Outcome by_bytes(const TextStreamOptions& options, const std::string& text) {
  std::vector<std::string> pieces;
  for (const char byte : text) pieces.emplace_back(1, byte);
  return stream(options, pieces);
}

struct Case {
  std::string name, text;
  TextStreamOptions options;
  Outcome expected;
};

TEST(TextStream, Table) {
  const Case cases[] = {
      {"plain", "Hello", {}, {"", "Hello", ""}},
      {"empty", "", {}, {"", "", ""}},
      {"thinking", "<think>\nhm\n</think>\n\nYes", {}, {"\nhm\n", "Yes", ""}},
      {"thinking opened by the prompt",
       "hm</think>\nYes",
       {.thinking_open = true},
       {"hm", "Yes", ""}},
      {"thinking never closed", "<think>hm </thin", {}, {"hm </thin", "", ""}},
      {"opened and never closed", "hm", {.thinking_open = true}, {"hm", "", ""}},
      {"white space before the tag", " \n<think>a</think>b", {}, {"a", "b", ""}},
      {"white space and no tag", " \n<thin b", {}, {"", " \n<thin b", ""}},
      {"white space alone", " \n ", {}, {"", " \n ", ""}},
      {"a tag in the answer", "a <think>b</think>", {}, {"", "a <think>b</think>", ""}},
      {"a second tag", "<think>a</think>b<think>c</think>", {}, {"a", "b<think>c</think>", ""}},
      {"the tag in thinking", "<think><think>a</think>b", {}, {"<think>a", "b", ""}},
      {"the tag where the prompt has it",
       "<think>a</think>b",
       {.thinking_open = true},
       {"<think>a", "b", ""}},
      {"thinking turned off",
       "<think>a</think>\nb",
       {.parse_thinking = false},
       {"", "<think>a</think>\nb", ""}},
      {"empty thinking", "<think>\n\n</think>\n\nHi\n", {}, {"\n\n", "Hi\n", ""}},
      {"space behind the tag stays", "<think>a</think> b", {}, {"a", " b", ""}},
      {"nearly closed", "<think>a</thinky</</think>b", {}, {"a</thinky</", "b", ""}},
      {"other tags", "[T]a[/T]b", {.think_begin = "[T]", .think_end = "[/T]"}, {"a", "b", ""}},

      {"stop", "abcSTOPdef", {.stop = {"STOP"}}, {"", "abc", "STOP"}},
      {"stop begun", "abcSTO", {.stop = {"STOP"}}, {"", "abcSTO", ""}},
      {"stop at once", "STOP", {.stop = {"STOP"}}, {"", "", "STOP"}},
      {"stop overlapping itself", "aaab", {.stop = {"aab"}}, {"", "a", "aab"}},
      {"the stop complete first", "abcd", {.stop = {"bcd", "c"}}, {"", "ab", "c"}},
      {"the longest that ends there", "abcd", {.stop = {"c", "bc"}}, {"", "a", "bc"}},
      {"an empty stop is none", "abc", {.stop = {""}}, {"", "abc", ""}},
      {"stop in thinking", "<think>aXb", {.stop = {"X"}}, {"a", "", "X"}},
      {"stop at the end tag", "<think>a</think>b", {.stop = {"</think>"}}, {"a", "", "</think>"}},
      {"stop within the begin tag", "<think>", {.stop = {"think"}}, {"", "<", "think"}},
      {"no stop across the border",
       "<think>a</think>\n\nb",
       {.stop = {">\n\nb", "\n\n"}},
       {"a", "b", ""}},
      {"stop behind the border",
       "<think>a</think>\n\nb\n\nc",
       {.stop = {"\n\n"}},
       {"a", "b", "\n\n"}},
      {"stop in white space", "\n\nb", {.stop = {"\n\n"}}, {"", "", "\n\n"}},
      {"stop of several bytes a character", "你好。世界", {.stop = {"。"}}, {"", "你好", "。"}},

      {"invalid bytes",
       "a\xff"
       "b",
       {},
       {"",
        "a\ufffd"
        "b",
        ""}},
      {"cut character", "a\xe4\xbd", {}, {"", "a\ufffd", ""}},
      {"cut in the middle",
       "\xe4\xbd"
       "a",
       {},
       {"",
        "\ufffd"
        "a",
        ""}},
      {"two subparts", "\xf0\x9f\x98\xe4\xbd", {}, {"", "\ufffd\ufffd", ""}},
      {"surrogate", "\xed\xa0\x80", {}, {"", "\ufffd\ufffd\ufffd", ""}},
      {"cut by the tag", "<think>\xe4\xbd</think>\xbd\xa0", {}, {"\ufffd", "\ufffd\ufffd", ""}},
      {"cut by a stop", "\xe4\xbdX", {.stop = {"X"}}, {"", "\ufffd", "X"}},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(whole(c.options, c.text), c.expected) << c.name;
    EXPECT_EQ(by_bytes(c.options, c.text), c.expected) << c.name << ", byte by byte";
  }
}

TEST(TextStream, SaysWhatIsCertainAtOnce) {
  TextStream stream({.stop = {"END"}});
  EXPECT_EQ(stream.push("Hello").answer, "Hello");
  EXPECT_EQ(stream.push(" \xe4\xbd").answer, " ");
  EXPECT_EQ(stream.push("\xa0 E").answer, "你 ");
  EXPECT_EQ(stream.push("N").answer, "");
  EXPECT_EQ(stream.push("!").answer, "EN!");
  EXPECT_FALSE(stream.in_thinking());
  EXPECT_EQ(stream.push("E").answer, "");
  EXPECT_EQ(stream.push("ND more").answer, "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.stop_string(), "END");
  EXPECT_EQ(stream.push("more").answer, "");
  EXPECT_EQ(stream.finish().answer, "");
}

TEST(TextStream, KnowsWhetherItIsInThinking) {
  TextStream stream({});
  EXPECT_FALSE(stream.in_thinking());
  stream.push("<think>");
  EXPECT_TRUE(stream.in_thinking());
  EXPECT_EQ(stream.push("a</").thinking, "a");
  stream.push("think>");
  EXPECT_FALSE(stream.in_thinking());
  EXPECT_TRUE(TextStream({.thinking_open = true}).in_thinking());
}

// The law: however the bytes are split, the joined text is the same.
TEST(TextStream, AnySplitStreamsTheSameText) {
  RandomText random(3);
  const std::string parts[] = {"<think>", "</think>", "<th",  "ink>", "</",   "STOP", "ST",   "\n",
                               "\n\n",    " ",        "text", "你好", "\xe4", "\xbd", "\xf0", "ab"};
  size_t stops = 0, thinkings = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (uint32_t n = random.below(12); n > 0; --n) text += parts[random.below(std::size(parts))];
    if (random.below(4) == 0) text += random.bytes(random.below(8));
    TextStreamOptions options;
    options.thinking_open = random.below(4) == 0;
    options.parse_thinking = random.below(8) != 0;
    if (random.below(2) == 0) options.stop = {"STOP", "TO", "\n\n", "\xbd"};
    if (random.below(6) == 0) options.stop = {"</think>", "ink>\n"};
    const Outcome expected = whole(options, text);
    ASSERT_EQ(by_bytes(options, text), expected) << text;
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min<size_t>(text.size() - at, random.below(5));
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    ASSERT_EQ(stream(options, pieces), expected) << text;
    stops += !expected.stop.empty();
    thinkings += !expected.thinking.empty();
  }
  EXPECT_GT(stops, 1000u);
  EXPECT_GT(thinkings, 1000u);
}

// A megabyte of what might still become a tag or a stop string is no reason for more than linear
// time.
TEST(TextStream, StaysLinear) {
  const std::string spaces(1 << 20, ' '), letters(1 << 20, 'a');
  EXPECT_EQ(by_bytes({}, spaces).answer.size(), spaces.size());
  EXPECT_EQ(by_bytes({.stop = {std::string(100000, 'a') + "b"}}, letters).answer.size(),
            letters.size());
}

}  // namespace
}  // namespace hadal
