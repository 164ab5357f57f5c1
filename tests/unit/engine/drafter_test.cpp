#include "engine/drafter.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace hadal {
namespace {

using Tokens = std::vector<TokenId>;

struct Guess {
  Tokens tokens;
  uint32_t grade = 0;
};

Guess guess(NgramDrafter& drafter, const Tokens& history, size_t most = 4) {
  Guess result{Tokens(most, -1)};
  const Draft draft = drafter.propose(history, result.tokens);
  result.tokens.resize(draft.tokens);
  result.grade = draft.grade;
  return result;
}

Guess guess(const Tokens& history, size_t most = 4) {
  NgramDrafter drafter(100);
  return guess(drafter, history, most);
}

TEST(NgramDrafter, KnowsNothingOfWhatIsNew) {
  EXPECT_TRUE(guess({1}).tokens.empty());
  EXPECT_TRUE(guess({1, 2}).tokens.empty());
  EXPECT_TRUE(guess({1, 2, 3, 4, 5, 6, 7}).tokens.empty());
  EXPECT_TRUE(guess({1, 2, 3, 4, 5, 2}).tokens.empty()) << "one token is no run";
}

TEST(NgramDrafter, GoesOnAsBefore) {
  const Guess two = guess({1, 2, 3, 4, 5, 6, 9, 2, 3});
  EXPECT_EQ(two.tokens, (Tokens{4, 5, 6, 9}));
  EXPECT_EQ(two.grade, 0u);
  const Guess three = guess({1, 2, 3, 4, 5, 6, 7, 9, 2, 3, 4});
  EXPECT_EQ(three.tokens, (Tokens{5, 6, 7, 9}));
  EXPECT_EQ(three.grade, 1u);
  EXPECT_EQ(guess({1, 2, 3, 4, 5, 6, 9, 2, 3, 4, 5}).grade, 2u);
  EXPECT_EQ(guess({1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8}).grade, 3u);
  EXPECT_EQ(guess({1, 2, 3, 4, 5, 6, 9, 2, 3}, 2).tokens, (Tokens{4, 5}));
}

TEST(NgramDrafter, PrefersTheLongerRunThenTheLaterPlace) {
  EXPECT_EQ(guess({7, 1, 2, 3, 50, 9, 2, 3, 60, 8, 1, 2, 3}, 1).tokens, (Tokens{50}));
  EXPECT_EQ(guess({2, 3, 50, 2, 3, 60, 8, 2, 3}, 1).tokens, (Tokens{60}));
}

TEST(NgramDrafter, CirclesGoOn) {
  EXPECT_EQ(guess({5, 5, 5}, 4).tokens, (Tokens{5, 5, 5, 5}));
  EXPECT_EQ(guess({1, 2, 3, 1, 2, 3, 1, 2}, 7).tokens, (Tokens{3, 1, 2, 3, 1, 2, 3}));
}

TEST(NgramDrafter, LearnsWhatIsAddedAndOnlyOnce) {
  NgramDrafter drafter(100);
  Tokens history = {1, 2, 3, 4};
  EXPECT_TRUE(guess(drafter, history).tokens.empty());
  history.insert(history.end(), {1, 2});
  EXPECT_EQ(guess(drafter, history, 2).tokens, (Tokens{3, 4}));
  EXPECT_EQ(guess(drafter, history, 2).tokens, (Tokens{3, 4})) << "asked again, the same";
  history.insert(history.end(), {8, 1, 2});
  EXPECT_EQ(guess(drafter, history, 2).tokens, (Tokens{8, 1}));
}

// Tables far too small for the history: fewer guesses, none of them out of thin air.
TEST(NgramDrafter, CollisionsNeverInventAMatch) {
  NgramDrafter drafter(16);
  std::mt19937 random(5);
  Tokens history;
  uint32_t guesses = 0;
  for (int i = 0; i < 5000; ++i) {
    history.push_back(static_cast<TokenId>(random() % 6));
    const Guess found = guess(drafter, history, 1);
    if (found.tokens.empty()) continue;
    ++guesses;
    bool there = false;
    for (size_t place = 2; place < history.size() && !there; ++place) {
      there = std::equal(history.end() - 2, history.end(),
                         history.begin() + static_cast<ptrdiff_t>(place) - 2) &&
              history[place] == found.tokens[0];
    }
    ASSERT_TRUE(there) << "after " << history.size() << " tokens";
  }
  EXPECT_GT(guesses, 1000u);
}

TEST(NgramDrafter, ServesHistoriesLongerThanItsTables) {
  NgramDrafter drafter(NgramDrafter::kEntriesMost * 4);
  Tokens history(NgramDrafter::kEntriesMost * 3);
  std::mt19937 random(6);
  for (TokenId& token : history) token = static_cast<TokenId>(random());
  std::copy_n(history.end() - 100, 50, history.end() - 50);
  std::array<TokenId, 8> into;
  const Draft draft = drafter.propose(history, into);
  EXPECT_EQ(draft.tokens, 8u);
  EXPECT_EQ(into[0], history[history.size() - 50]);
}

}  // namespace
}  // namespace hadal
