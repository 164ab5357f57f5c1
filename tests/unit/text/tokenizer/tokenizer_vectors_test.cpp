// Token ids that the models' own tokenizers gave, for every vocabulary at hand.
#include <gtest/gtest.h>

#include <sstream>

#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal {
namespace {

using testing::open_vocabulary;
using testing::read_file;

const std::filesystem::path kData = std::filesystem::path(HADAL_TEST_DATA) / "text";

std::vector<TokenId> numbers(std::string text) {
  std::replace(text.begin(), text.end(), ',', ' ');
  std::istringstream stream(text);
  std::vector<TokenId> ids;
  for (TokenId id; stream >> id;) ids.push_back(id);
  return ids;
}

struct VectorCase {
  std::string vectors;     // the folder
  std::string name;        // in the vectors' file names
  std::string vocabulary;  // see open_vocabulary
  std::string pre_tokenizer;
};

void PrintTo(const VectorCase& c, std::ostream* out) {
  *out << c.vectors << "/" << c.name << " with " << c.vocabulary;
}

class TokenizerVectors : public ::testing::TestWithParam<VectorCase> {};

TEST_P(TokenizerVectors, EveryTextHasItsIds) {
  const VectorCase& c = GetParam();
  const std::filesystem::path base =
      kData / "tokenizers" / c.vectors / ("ggml-vocab-" + c.name + ".gguf");
  const std::string texts = read_file(base.string() + ".inp");
  std::istringstream lines(read_file(base.string() + ".out"));
  const Tokenizer& tokenizer = open_vocabulary(c.vocabulary, c.pre_tokenizer);

  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  size_t cases = 0;
  for (size_t at = 0;;) {
    const size_t end = texts.find(kSeparator, at);
    if (end == std::string::npos) break;
    const std::string text = texts.substr(at, end - at);
    at = end + kSeparator.size();
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    const auto ids = tokenizer.encode(text, SpecialTokens::kAsText);
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(*ids, numbers(line)) << "'" << text << "'";
    EXPECT_EQ(tokenizer.decode(*ids, SpecialTokens::kAsText), text);
    EXPECT_LE(tokenizer.least_tokens(text.size()), ids->size()) << "'" << text << "'";
    ++cases;
  }
  std::string line;
  EXPECT_FALSE(std::getline(lines, line)) << "ids without a text";
  EXPECT_GE(cases, 46u);
}

TEST_P(TokenizerVectors, LongTextIsKnownToHaveManyTokens) {
  const VectorCase& c = GetParam();
  const Tokenizer& tokenizer = open_vocabulary(c.vocabulary, c.pre_tokenizer);
  EXPECT_GT(tokenizer.least_tokens(16 << 20), 10'000u);
  std::string_view longest;
  for (uint32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(static_cast<TokenId>(id));
    if (bytes.size() > longest.size()) longest = bytes;
  }
  for (const auto special : {SpecialTokens::kAsText, SpecialTokens::kParsed}) {
    std::string text;
    for (int i = 0; i < 100; ++i) text += longest;
    const auto ids = tokenizer.encode(text, special);
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_LE(tokenizer.least_tokens(text.size()), ids->size()) << longest;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TokenizerVectors,
    ::testing::Values(
        VectorCase{"vectors", "deepseek-coder", "gguf/ggml-vocab-deepseek-coder.gguf", ""},
        VectorCase{"vectors", "deepseek-llm", "gguf/ggml-vocab-deepseek-llm.gguf", ""},
        VectorCase{"vectors", "gpt-2", "gguf/ggml-vocab-gpt-2.gguf", ""},
        VectorCase{"vectors", "llama-bpe", "llama3", "llama-bpe"},
        VectorCase{"vectors", "llama-spm", "gguf/ggml-vocab-llama-spm.gguf", ""},
        VectorCase{"vectors", "phi-3", "gguf/ggml-vocab-phi-3.gguf", ""},
        VectorCase{"vectors", "qwen2", "qwen2", "qwen2"},
        VectorCase{"vectors", "qwen35", "qwen2", "qwen35"},
        VectorCase{"vectors-2025-02", "deepseek-coder", "gguf/ggml-vocab-deepseek-coder.gguf", ""},
        VectorCase{"vectors-2025-02", "deepseek-llm", "gguf/ggml-vocab-deepseek-llm.gguf", ""},
        VectorCase{"vectors-2025-02", "deepseek-r1-qwen", "qwen2", "deepseek-r1-qwen"},
        VectorCase{"vectors-2025-02", "llama-bpe", "llama3", "llama-bpe"},
        VectorCase{"vectors-2025-02", "qwen2", "qwen2", "qwen2"},
        // The folders alone, without a word about the pre-tokenizer.
        VectorCase{"vectors", "llama-bpe", "llama3", ""},
        VectorCase{"vectors-2025-02", "qwen2", "qwen2", ""}),
    [](const auto& info) {
      std::string name = info.param.vectors + "_" + info.param.name +
                         (info.param.pre_tokenizer.empty() ? "_as_it_is" : "_named");
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

void expect_wikitext(const std::string& vocabulary, const std::string& ids_file) {
  const Tokenizer& tokenizer = open_vocabulary(vocabulary);
  std::vector<TokenId> expected = numbers(read_file(kData / "tokenizers/vectors" / ids_file));
  ASSERT_EQ(expected.size(), 8192u);
  EXPECT_EQ(tokenizer.bos(), expected.front());
  EXPECT_TRUE(tokenizer.adds_bos());
  expected.erase(expected.begin());
  auto ids = tokenizer.encode(read_file(kData / "wiki.test.64k.raw"), SpecialTokens::kAsText);
  ASSERT_TRUE(ids) << ids.error().message;
  ASSERT_GT(ids->size(), expected.size());
  ids->resize(expected.size());
  EXPECT_EQ(*ids, expected);
}

TEST(TokenizerWikitext, DeepSeekV3) {
  expect_wikitext("deepseek-v3", "wikitext2.first8192.deepseek-v3.ids.txt");
}

// DeepSeek-V2 has the vocabulary of DeepSeek-LLM.
TEST(TokenizerWikitext, DeepSeekV2) {
  expect_wikitext("gguf/ggml-vocab-deepseek-llm.gguf", "wikitext2.first8192.deepseek-v2.ids.txt");
}

// Made by tools/tokenizer_vectors.py with Hugging Face's tokenizers: lines of a JSON string and its
// ids.
class HuggingFaceVectors : public ::testing::TestWithParam<std::string> {};

TEST_P(HuggingFaceVectors, EveryTextHasItsIds) {
  const Tokenizer& tokenizer = open_vocabulary(GetParam());
  std::istringstream lines(
      read_file(kData / "tokenizers/vectors-huggingface" / (GetParam() + ".txt")));
  size_t cases = 0;
  for (std::string line; std::getline(lines, line); ++cases) {
    // HEX OF THE TEXT, a tab, 0 or 1 (special tokens parsed), a tab, IDS
    const size_t tab = line.find('\t');
    const size_t tab2 = line.find('\t', tab + 1);
    ASSERT_NE(tab2, std::string::npos) << line;
    std::string text;
    for (size_t i = 0; i + 1 < tab; i += 2) {
      text += static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16));
    }
    const bool parsed = line[tab + 1] == '1';
    const auto ids =
        tokenizer.encode(text, parsed ? SpecialTokens::kParsed : SpecialTokens::kAsText);
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(*ids, numbers(line.substr(tab2 + 1))) << text;
  }
  EXPECT_GE(cases, 200u);
}

INSTANTIATE_TEST_SUITE_P(All, HuggingFaceVectors, ::testing::Values("deepseek-v3", "minimind"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace hadal
