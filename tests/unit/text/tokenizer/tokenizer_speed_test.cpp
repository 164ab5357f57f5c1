// Speed as ratios within one run: machines differ, and are shared. The texts that tempt a tokenizer
// into quadratic time are held to a few times the cost of ordinary text.
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal {
namespace {

using testing::open_vocabulary;
using testing::RandomText;
using testing::read_file;

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The best of three, in nanoseconds a byte.
double cost(const Tokenizer& tokenizer, const std::string& text) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double start = cpu_seconds();
    const auto ids = tokenizer.encode(text, SpecialTokens::kAsText);
    best = std::min(best, cpu_seconds() - start);
    EXPECT_TRUE(ids) << ids.error().message;
  }
  return best * 1e9 / static_cast<double>(text.size());
}

std::string repeated(std::string_view part, size_t bytes = 1 << 20) {
  std::string text;
  while (text.size() < bytes) text += part;
  return text;
}

class Speed : public ::testing::TestWithParam<std::string> {};

TEST_P(Speed, NoTextIsMuchSlowerThanPlainText) {
  const Tokenizer& tokenizer = open_vocabulary(GetParam(), GetParam() == "qwen2" ? "qwen2" : "");
  // A megabyte of plain text: the 64 KB at hand, varied so that it does not repeat.
  const std::string sample =
      read_file(std::filesystem::path(HADAL_TEST_DATA) / "text/wiki.test.64k.raw");
  std::string plain;
  for (int i = 0; i < 16; ++i) {
    std::string part = sample;
    for (char& c : part) {
      if (i > 0 && c >= 'a' && c <= 'z' && (c + i) % 5 == 0)
        c = static_cast<char>('a' + (c + i) % 26);
    }
    plain += part;
  }
  const double base = cost(tokenizer, plain);
  RecordProperty("plain_text_megabytes_per_second", std::to_string(1e3 / base));
  RandomText random(1);
  const std::pair<const char*, std::string> texts[] = {
      {"one letter", repeated("a")},
      {"spaces", repeated(" ")},
      {"spaces and a letter", repeated(" ") + "中"},
      {"line breaks", repeated("\n")},
      {"tabs", repeated("\t")},
      {"one Chinese character", repeated("中")},
      {"Chinese without a stop", repeated("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏")},
      {"one digit", repeated("1")},
      {"one mark", repeated("!")},
      {"quotes", repeated("'")},
      {"one emoji", repeated("😀")},
      {"spaces between letters", repeated("a ")},
      {"accents", repeated("\u0301")},
  };
  for (const auto& [name, text] : texts) {
    const double ratio = cost(tokenizer, text) / base;
    EXPECT_LT(ratio, 6.0) << name;
    RecordProperty(std::string("ratio_of_") + name, std::to_string(ratio));
  }
  // No text of words, but not quadratic either.
  const std::pair<const char*, std::string> worse[] = {
      {"random bytes", random.bytes(1 << 20)}, {"random characters", random.characters(300000)}};
  for (const auto& [name, text] : worse) {
    if (!tokenizer.encode(text, SpecialTokens::kAsText)) continue;  // no token for some byte
    EXPECT_LT(cost(tokenizer, text) / base, 20.0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Speed,
                         ::testing::Values("deepseek-v3", "qwen2", "llama3",
                                           "gguf/ggml-vocab-deepseek-llm.gguf",
                                           "gguf/ggml-vocab-deepseek-coder.gguf",
                                           "gguf/ggml-vocab-gpt-2.gguf",
                                           "gguf/ggml-vocab-llama-spm.gguf"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace hadal
