// Merging is held to the definition: do the lowest-ranked merge, of equals the leftmost, until
// there is none.
#include "text/tokenizer/bpe_merger.h"

#include <gtest/gtest.h>

#include <random>

#include "text/tokenizer/bpe_encoder.h"
#include "text/tokenizer/spm_split.h"
#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal {
namespace {

using testing::RandomText;
using testing::WordList;

std::vector<TokenId> merge_by_definition(std::vector<TokenId> ids, const BpeMerges& merges) {
  for (;;) {
    Merge best;
    size_t place = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const Merge merge = merges.find(ids[i], ids[i + 1]);
      if (merge.rank < best.rank) {
        best = merge;
        place = i;
      }
    }
    if (best.rank == Merge::kNoMerge) return ids;
    ids[place] = best.token;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(place) + 1);
  }
}

// A vocabulary over the letters a to e: random tokens with random scores (many equal) or as a
// random list of merges.
struct RandomVocabulary {
  VocabularySource source;
  explicit RandomVocabulary(uint32_t seed, bool scored) {
    std::mt19937 random(seed);
    const auto below = [&](size_t limit) {
      return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
    };
    source.file = "random";
    source.spelling = Spelling::kPlain;
    for (char letter = 'a'; letter <= 'e'; ++letter) add(std::string(1, letter));
    while (source.tokens.size() < 60) {
      const std::string left(source.tokens[below(source.tokens.size())]);
      const std::string right(source.tokens[below(source.tokens.size())]);
      if (left.size() + right.size() > 12) continue;
      const bool is_new = add(left + right);
      if (!scored && (is_new || below(3) == 0)) {
        source.merges.emplace_back(source.owned.emplace_back(left),
                                   source.owned.emplace_back(right));
      }
    }
    // Ranks that have nothing to do with the order in which tokens were made: what no training
    // gives, but a file may.
    std::shuffle(source.merges.begin(), source.merges.end(), random);
    for (size_t i = 0; scored && i < source.tokens.size(); ++i) {
      source.scores.push_back(-static_cast<float>(below(7)));
    }
  }
  bool add(const std::string& token) {
    for (const std::string_view known : source.tokens) {
      if (known == token) return false;
    }
    source.tokens.push_back(source.owned.emplace_back(token));
    return true;
  }
};

class Merger : public ::testing::TestWithParam<bool> {};

TEST_P(Merger, EqualsTheDefinition) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    RandomVocabulary random(seed, GetParam());
    const auto vocabulary = BpeVocabulary::create(random.source);
    ASSERT_TRUE(vocabulary) << vocabulary.error().message;
    const auto merges = BpeMerges::create(random.source, *vocabulary);
    ASSERT_TRUE(merges) << merges.error().message;
    BpeMerger merger(*merges);
    std::mt19937 letters(seed);
    for (const size_t size : {0, 1, 2, 3, 10, 39, 40, 41, 42, 80, 200, 700}) {
      std::vector<TokenId> symbols;
      for (size_t i = 0; i < size; ++i) {
        // Runs of a letter now and then.
        const bool repeats = i > 0 && letters() % 3 == 0;
        symbols.push_back(repeats ? symbols.back() : static_cast<TokenId>(letters() % 5));
      }
      std::vector<TokenId> merged;
      merger.merge(symbols, merged);
      ASSERT_EQ(merged, merge_by_definition(symbols, *merges))
          << "seed " << seed << " size " << size;
    }
  }
}

TEST_P(Merger, CutTextBecomesTheSameTokens) {
  size_t cuts = 0;
  for (uint32_t seed = 100; seed < 160; ++seed) {
    RandomVocabulary random(seed, GetParam());
    const auto vocabulary = BpeVocabulary::create(random.source);
    ASSERT_TRUE(vocabulary);
    const auto merges = BpeMerges::create(random.source, *vocabulary);
    ASSERT_TRUE(merges);
    const BpeRules rules{.spelling = Spelling::kPlain};
    std::mt19937 letters(seed);
    std::string text;
    for (size_t i = 0; i < 300; ++i) text += static_cast<char>('a' + letters() % 5);
    BpeEncoder whole(*vocabulary, *merges, rules, text.size());
    whole.set_text(text, 0);
    whole.word(0, text.size());
    BpeEncoder cut(*vocabulary, *merges, rules, text.size());
    cut.set_text(text, 0);
    split_where_nothing_joins(text, *merges, cut);
    const auto ids = whole.take();
    ASSERT_TRUE(ids);
    EXPECT_EQ(*cut.take(), *ids);
    WordList words;
    split_where_nothing_joins(text, *merges, words);
    cuts += words.words.size() - 1;
  }
  EXPECT_GT(cuts, 100u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Merger, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Scored" : "Listed"; });

VocabularySource letters_source() {
  VocabularySource source;
  source.file = "letters";
  source.spelling = Spelling::kPlain;
  source.tokens = {"a", "b", "c", "ab", "abc", "cc"};
  source.merges = {{"a", "b"}, {"ab", "c"}, {"c", "c"}};
  return source;
}

TEST(BpeMerges, RefusesMergesOfUnknownTokens) {
  for (const auto& [left, right, missing] :
       {std::tuple("x", "b", "'x'"), std::tuple("a", "y", "'y'"), std::tuple("b", "a", "'ba'")}) {
    VocabularySource source = letters_source();
    source.merges.emplace_back(left, right);
    const auto tokenizer = make_tokenizer(source);
    ASSERT_FALSE(tokenizer);
    EXPECT_NE(tokenizer.error().message.find("merge 3"), std::string::npos);
    EXPECT_NE(tokenizer.error().message.find(missing), std::string::npos);
  }
}

TEST(BpeMerges, OfTwoMergesOfOnePairTheFirstCounts) {
  VocabularySource source = letters_source();
  source.merges.emplace_back("a", "b");
  const auto vocabulary = BpeVocabulary::create(source);
  const auto merges = BpeMerges::create(source, *vocabulary);
  ASSERT_TRUE(merges);
  EXPECT_EQ(merges->find(0, 1).rank, 0u);
  EXPECT_EQ(merges->find(0, 1).token, 3);
  EXPECT_EQ(merges->find(1, 0).rank, Merge::kNoMerge);
}

TEST(BpeMerges, NamesWhatJoins) {
  const VocabularySource source = letters_source();
  const auto vocabulary = BpeVocabulary::create(source);
  const auto merges = BpeMerges::create(source, *vocabulary);
  EXPECT_TRUE(merges->joins('a', 'b'));
  EXPECT_TRUE(merges->joins('b', 'c'));
  EXPECT_TRUE(merges->joins('c', 'c'));
  EXPECT_FALSE(merges->joins('b', 'a'));
  EXPECT_FALSE(merges->joins('c', 'a'));
}

TEST(BpeEncoder, WordsAreRememberedWhereverTheTextMoves) {
  const VocabularySource source = letters_source();
  const auto vocabulary = BpeVocabulary::create(source);
  const auto merges = BpeMerges::create(source, *vocabulary);
  const BpeRules rules{.spelling = Spelling::kPlain};
  BpeEncoder encoder(*vocabulary, *merges, rules, 100);
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    const size_t begin = text.size();
    text += i % 3 == 0 ? "abc" : i % 3 == 1 ? "ccab" : "ba";
    encoder.set_text(text, begin);
    encoder.word(0, text.size() - begin);
  }
  const auto ids = encoder.take();
  ASSERT_TRUE(ids);
  for (size_t i = 0; i + 5 <= ids->size(); i += 5) {
    ASSERT_EQ(std::vector<TokenId>(ids->begin() + static_cast<ptrdiff_t>(i),
                                   ids->begin() + static_cast<ptrdiff_t>(i) + 5),
              (std::vector<TokenId>{4, 5, 3, 1, 0}));
  }
}

TEST(BpeEncoder, AWordBeyondTheLimitIsCutAtACharacter) {
  VocabularySource source = letters_source();
  source.tokens.push_back("中");
  const auto vocabulary = BpeVocabulary::create(source);
  const auto merges = BpeMerges::create(source, *vocabulary);
  const BpeRules rules{.spelling = Spelling::kPlain};
  std::string text;
  while (text.size() <= BpeEncoder::kWordBytesMax)
    text += "中";  // 3 bytes: the limit is within one
  BpeEncoder encoder(*vocabulary, *merges, rules, text.size());
  encoder.set_text(text, 0);
  encoder.word(0, text.size());
  const auto ids = encoder.take();
  ASSERT_TRUE(ids) << ids.error().message;
  EXPECT_EQ(ids->size(), text.size() / 3);
}

}  // namespace
}  // namespace hadal
