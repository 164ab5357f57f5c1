// The hand-written scanners are held to the patterns they stand for, run by PCRE2.
#include "text/tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <chrono>

#include "text/tokenizer/pre_tokenizer_regex.h"
#include "text/unicode.h"
#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal {
namespace {

using testing::RandomText;
using testing::WordList;
using Words = std::vector<std::pair<size_t, size_t>>;

Words split_by_name(std::string_view name, std::string_view text) {
  const auto splitter = PreTokenizer::named(name);
  EXPECT_TRUE(splitter) << splitter.error().message;
  WordList list;
  const Status status = splitter->split(text, list);
  EXPECT_TRUE(status);
  return list.words;
}

std::shared_ptr<const RegexStages> compile(std::string_view name) {
  std::vector<SplitStage> stages;
  for (const std::string& pattern : known_patterns(name)) stages.push_back({.pattern = pattern});
  auto compiled = RegexStages::compile(stages);
  EXPECT_TRUE(compiled) << compiled.error().message;
  return *compiled;
}

std::vector<std::string> pieces(std::string_view text, const Words& words) {
  std::vector<std::string> result;
  for (const auto& [begin, end] : words) result.emplace_back(text.substr(begin, end - begin));
  return result;
}

std::vector<std::string> split(std::string_view name, std::string_view text) {
  return pieces(text, split_by_name(name, text));
}

// PCRE2's Unicode is version 14; a code point that was assigned later has no class there.
std::string without_new_code_points(std::string_view text) {
  static const auto unassigned = [] {
    auto compiled = RegexStages::compile({{.pattern = R"(\p{Cn})"}});
    return *compiled;
  }();
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    const DecodedCodePoint c = decode_code_point(text, at);
    const std::string_view character = text.substr(at, c.bytes);
    at += c.bytes;
    WordList list;
    // The pattern isolates it: "a?" is two words, "a" and the character, only if it matches.
    const std::string probe = "a" + std::string(character);
    EXPECT_TRUE(unassigned->split(probe, 0, list));
    const bool unassigned_there = list.words.size() == 2;
    const bool unassigned_here =
        utf8proc_category(static_cast<utf8proc_int32_t>(c.value)) == UTF8PROC_CATEGORY_CN;
    if (unassigned_there == unassigned_here) kept += character;
  }
  return kept;
}

class KnownPreTokenizers : public ::testing::TestWithParam<std::string> {};

TEST_P(KnownPreTokenizers, EqualTheirPatternsOnRandomText) {
  const auto regex = compile(GetParam());
  RandomText random(20261122);
  size_t words = 0;
  for (int i = 0; i < 1500; ++i) {
    const std::string text = without_new_code_points(random.characters(1 + random.below(60)));
    WordList expected;
    ASSERT_TRUE(regex->split(text, 0, expected));
    ASSERT_EQ(pieces(text, split_by_name(GetParam(), text)), pieces(text, expected.words)) << text;
    words += expected.words.size();
  }
  EXPECT_GT(words, 10000u);
}

TEST_P(KnownPreTokenizers, EqualTheirPatternsOnEveryCodePoint) {
  // Each code point between letters, spaces and punctuation, where its class decides.
  const auto regex = compile(GetParam());
  std::string block;
  const auto check = [&] {
    const std::string text = without_new_code_points(block);
    WordList expected;
    ASSERT_TRUE(regex->split(text, 0, expected));
    ASSERT_EQ(pieces(text, split_by_name(GetParam(), text)), pieces(text, expected.words));
    block.clear();
  };
  for (uint32_t c = 1; c < 0x110000; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    if (c == 0x32000) c = 0xe0000;  // unassigned between
    if (c == 0xe0200) c = 0x10ff00;
    append_code_point(block, c);
    block += c % 3 == 0 ? "a" : c % 3 == 1 ? " " : "!";
    if (c % 4096 == 0) {
      check();
      if (HasFatalFailure()) return;
    }
  }
  check();
}

TEST_P(KnownPreTokenizers, KeepEveryByte) {
  RandomText random(7);
  for (int i = 0; i < 300; ++i) {
    const std::string text = i % 2 == 0 ? random.mixed(200) : random.bytes(200);
    size_t end = 0;
    for (const auto& [begin, word_end] : split_by_name(GetParam(), text)) {
      ASSERT_EQ(begin, end);
      ASSERT_LT(begin, word_end);
      end = word_end;
    }
    ASSERT_EQ(end, text.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Names, KnownPreTokenizers,
                         ::testing::Values("deepseek-v3", "deepseek-llm", "deepseek-coder", "qwen2",
                                           "qwen35", "llama-bpe", "smollm", "gpt-2", "default"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

using Strings = std::vector<std::string>;

TEST(PreTokenizer, SplitsAsTheModelsWereTrained) {
  EXPECT_EQ(split("deepseek-v3", "In 2024, 你好世界 cost 12345\n\n  x"),
            (Strings{"In", " ", "202", "4", ",", " ", "你好世界", " cost", " ", "123", "45", "\n\n",
                     " ", " x"}));
  EXPECT_EQ(split("qwen2", "I'LL take 12"), (Strings{"I", "'LL", " take", " ", "1", "2"}));
  EXPECT_EQ(split("llama-bpe", "12345 !?\n\n"), (Strings{"123", "45", " !?\n\n"}));
  EXPECT_EQ(split("gpt-2", "I'LL  take 12"), (Strings{"I", "'", "LL", " ", " take", " 12"}));
  EXPECT_EQ(split("smollm", "x 12"), (Strings{"x", " ", "1", "2"}));
  EXPECT_EQ(split("deepseek-coder", "a+1\n"), (Strings{"a", "+", "1", "\n"}));
  EXPECT_EQ(split("deepseek-llm", "na\u00efve  "), (Strings{"na", "\u00ef", "ve", "  "}));
}

TEST(PreTokenizer, BytesThatAreNoCharacterAreWordsOfTheirOwn) {
  EXPECT_EQ(split("deepseek-v3",
                  "ab\xff\xfe"
                  "cd \xe4\xbd"),
            (Strings{"ab", "\xff\xfe", "cd", " ", "\xe4\xbd"}));
}

TEST(PreTokenizer, KnowsTheNamesOfGgufFiles) {
  for (const char* name : {"llama3", "llama-v3", "gpt2", "deepseek-r1-qwen", "default", ""}) {
    EXPECT_TRUE(PreTokenizer::named(name)) << name;
  }
  const auto unknown = PreTokenizer::named("nonsense");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("'nonsense'"), std::string::npos);
  EXPECT_NE(unknown.error().message.find("deepseek-v3"), std::string::npos);
  EXPECT_TRUE(PreTokenizer::named("llama3")->default_ignore_merges());
  EXPECT_FALSE(PreTokenizer::named("qwen2")->default_adds_bos());
}

Strings split_by_stages(std::vector<SplitStage> stages, std::string_view text) {
  const auto splitter = PreTokenizer::from_stages(std::move(stages));
  EXPECT_TRUE(splitter) << splitter.error().message;
  WordList list;
  const Status status = splitter->split(text, list);
  EXPECT_TRUE(status);
  return pieces(text, list.words);
}

TEST(PreTokenizer, RecognisesKnownPatterns) {
  const auto recognised =
      PreTokenizer::from_stages({{.pattern = known_patterns("deepseek-v3")[0]},
                                 {.pattern = known_patterns("deepseek-v3")[1]},
                                 {.pattern = known_patterns("deepseek-v3")[2]}});
  ASSERT_TRUE(recognised);
  EXPECT_EQ(recognised->name(), "deepseek-v3");
  const auto other = PreTokenizer::from_stages({{.pattern = known_patterns("qwen2")[0] + "|x"}});
  ASSERT_TRUE(other);
  EXPECT_EQ(other->name(), "");
}

// What each behaviour does, as Hugging Face's documentation of pre-tokenizers shows it on this
// text.
TEST(PreTokenizer, SplitBehaviors) {
  const auto with = [](SplitBehavior behavior) {
    return split_by_stages({{.pattern = "-", .behavior = behavior}}, "the-final--countdown");
  };
  EXPECT_EQ(with(SplitBehavior::kRemoved), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(with(SplitBehavior::kIsolated), (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(with(SplitBehavior::kMergedWithPrevious),
            (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(with(SplitBehavior::kMergedWithNext), (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(with(SplitBehavior::kContiguous), (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(
      split_by_stages({{.pattern = "[a-z]+", .behavior = SplitBehavior::kRemoved, .invert = true}},
                      "ab, cd."),
      (Strings{"ab", "cd"}));
  EXPECT_EQ(split_by_stages({{.pattern = "a.", .literal = true}}, "xa.ab"),
            (Strings{"x", "a.", "ab"}));
}

TEST(PreTokenizer, EmptyMatchesAreBorders) {
  EXPECT_EQ(split_by_stages({{.pattern = R"((?=(\d{3})+(?!\d)))"}}, "1234567"),
            (Strings{"1", "234", "567"}));
}

TEST(PreTokenizer, StagesSeeOnlyTheirPiece) {
  EXPECT_EQ(split_by_stages({{.pattern = "[\r\n]"}, {.pattern = R"(\s+$)"}}, "a  \nb  c "),
            (Strings{"a", "  ", "\n", "b  c", " "}));
}

TEST(PreTokenizer, WhiteSpaceIsWhatOnigurumaMeans) {
  // U+180E was white space once, and is to PCRE2.
  EXPECT_EQ(split_by_stages({{.pattern = R"(\s+)"}}, "a\u180eb\u3000c"), (Strings{"a\u180e"
                                                                                  "b",
                                                                                  "\u3000", "c"}));
  EXPECT_EQ(split_by_stages({{.pattern = R"([^\S]+)"}}, "a\u180eb\u3000c"),
            (Strings{"a\u180e"
                     "b",
                     "\u3000", "c"}));
}

TEST(PreTokenizer, RefusesPatternsItCannotRun) {
  const auto error = [](std::string pattern) {
    const auto splitter = PreTokenizer::from_stages({{.pattern = std::move(pattern)}});
    return splitter ? std::string() : splitter.error().message;
  };
  EXPECT_NE(error("(").find("cannot be used"), std::string::npos);
  EXPECT_NE(error("[a-z&&[aeiou]]").find("not supported"), std::string::npos);
  EXPECT_NE(error("[a[b]]").find("not supported"), std::string::npos);
  EXPECT_NE(error("\xff").find("not UTF-8"), std::string::npos);
  EXPECT_NE(error(std::string(RegexStages::kPatternBytesMax + 1, 'a')).find("limit"),
            std::string::npos);
  EXPECT_NE(error(std::string(101, '(') + std::string(101, ')')), "");
  const std::vector<SplitStage> many(PreTokenizer::kStagesMax + 1, {.pattern = "a"});
  EXPECT_FALSE(PreTokenizer::from_stages(many));
}

TEST(PreTokenizer, PatternsThatTakeTooLongEnd) {
  using Clock = std::chrono::steady_clock;
  const std::string letters(60, 'a'), spaces(300000, ' ');
  const std::pair<const char*, std::string> cases[] = {
      {R"((a+)+b)", letters},       // exponential
      {R"((a|a|aa)+$x)", letters},  // likewise
      {R"(\s+$)", spaces + "x"},    // quadratic
      {R"((\s+\s+\s+)x)", spaces},  // more than that
      {R"((?=(\s+))\1x)", spaces},
  };
  for (const auto& [pattern, text] : cases) {
    const auto splitter = PreTokenizer::from_stages({{.pattern = pattern}});
    ASSERT_TRUE(splitter) << splitter.error().message;
    WordList list;
    const auto start = Clock::now();
    const Status status = splitter->split(text, list);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    EXPECT_LT(seconds, 30) << pattern;
    if (!status) {
      EXPECT_NE(status.error().message.find("pattern"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace hadal
