#include "engine/draft_pace.h"

#include <gtest/gtest.h>

#include <limits>

namespace hadal {
namespace {

void measure(StepCosts& costs, uint32_t tokens, double seconds, int times = 2) {
  for (int i = 0; i < times; ++i) costs.measured(tokens, seconds);
}

TEST(StepCosts, KnowsWhatItWasToldTwice) {
  StepCosts costs;
  EXPECT_FALSE(costs.seconds(1));
  costs.measured(1, 50);  // a cold one
  EXPECT_FALSE(costs.seconds(1));
  costs.measured(1, 10);
  EXPECT_EQ(costs.seconds(1), 10.0);
  EXPECT_EQ(costs.seconds(4), 10.0) << "nothing speaks against it";
  EXPECT_EQ(costs.largest_known(), 1u);
  measure(costs, 5, 18);
  EXPECT_EQ(costs.seconds(3), 14.0);
  EXPECT_EQ(costs.seconds(5), 18.0);
  EXPECT_EQ(costs.seconds(9), 26.0);
  EXPECT_EQ(costs.largest_known(), 5u);
  StepCosts larger;
  measure(larger, 4, 10);
  EXPECT_FALSE(larger.seconds(3));
}

TEST(StepCosts, WhatCannotBeIsLeftOut) {
  StepCosts costs;
  for (const double seconds : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    measure(costs, 1, seconds);
  }
  measure(costs, 0, 1);
  measure(costs, StepCosts::kTokensMost + 1, 1);
  measure(costs, UINT32_MAX, 1);
  EXPECT_EQ(costs.largest_known(), 0u);
  measure(costs, StepCosts::kTokensMost, 1);
  EXPECT_EQ(costs.seconds(UINT32_MAX), 1.0);
}

TEST(StepCosts, AStallSaysLittleATrendMuch) {
  StepCosts costs;
  measure(costs, 1, 10, 10);
  costs.measured(1, 10000);
  EXPECT_LT(*costs.seconds(1), 14);
  measure(costs, 1, 10, 5);
  EXPECT_NEAR(*costs.seconds(1), 10, 0.5);
  measure(costs, 1, 20, 40);
  EXPECT_NEAR(*costs.seconds(1), 20, 0.5);
}

TEST(StepCosts, ForgetsWhatIsNotConfirmed) {
  StepCosts costs;
  measure(costs, 5, 50);
  measure(costs, 1, 10, StepCosts::kForgetSteps);
  EXPECT_EQ(costs.largest_known(), 5u);
  costs.measured(1, 10);
  EXPECT_EQ(costs.largest_known(), 1u);
  measure(costs, 5, 20);
  EXPECT_EQ(costs.seconds(5), 20.0) << "anew, not from the old figure";
}

TEST(DraftAcceptance, FollowsWhatHappens) {
  DraftAcceptance acceptance;
  EXPECT_EQ(acceptance.probability(0), 0.5);
  for (int i = 0; i < 50; ++i) acceptance.tried(0, 4, 4);
  EXPECT_GT(acceptance.probability(0), 0.95);
  EXPECT_EQ(acceptance.probability(1), 0.5) << "grades are apart";
  for (int i = 0; i < 50; ++i) acceptance.tried(0, 4, 0);
  EXPECT_LT(acceptance.probability(0), 0.12);
  for (int i = 0; i < 50; ++i) acceptance.tried(2, 4, 1);  // one of two that were tried
  EXPECT_NEAR(acceptance.probability(2), 0.5, 0.01);
}

TEST(DraftAcceptance, AnotherChanceComesLate) {
  DraftAcceptance acceptance;
  for (int i = 0; i < 50; ++i) acceptance.tried(0, 4, 0);
  int passed = 0;
  for (; acceptance.probability(0) < 0.3; ++passed) acceptance.passed_over(0);
  EXPECT_GT(passed, 100);
  EXPECT_LT(passed, 1000);
}

TEST(DraftTokens, NoneWhileNothingIsKnown) {
  StepCosts costs;
  EXPECT_EQ(draft_tokens(costs, {.probability = 1, .tokens_max = 8}), 0u);
}

TEST(DraftTokens, ManyWhereAStepCostsTheSameNoneWhereEachTokenCosts) {
  StepCosts flat, steep;
  for (uint32_t tokens = 1; tokens <= 9; ++tokens) {
    measure(flat, tokens, 10 + 0.1 * tokens);
    measure(steep, tokens, 10 * tokens);
  }
  EXPECT_EQ(draft_tokens(flat, {.probability = 0.9, .tokens_max = 8}), 8u);
  EXPECT_EQ(draft_tokens(flat, {.probability = 0.9, .tokens_max = 3}), 3u);
  EXPECT_EQ(draft_tokens(flat, {.probability = 0.9, .tokens_max = 0}), 0u);
  EXPECT_EQ(draft_tokens(flat, {.probability = 0.01, .tokens_max = 8}), 0u);
  EXPECT_EQ(draft_tokens(steep, {.probability = 0.99, .tokens_max = 8}), 0u);
  const uint32_t few = draft_tokens(flat, {.probability = 0.3, .tokens_max = 8});
  EXPECT_GT(few, 0u);
  EXPECT_LT(few, 8u);
}

TEST(DraftTokens, UnknownSizesAreApproachedInSmallSteps) {
  StepCosts costs;
  measure(costs, 1, 10);
  EXPECT_EQ(draft_tokens(costs, {.probability = 0.9, .tokens_max = 8}), 2u);
  measure(costs, 3, 10.1);
  EXPECT_EQ(draft_tokens(costs, {.probability = 0.9, .tokens_max = 8}), 4u);
}

// With others in the step, a draft makes all of them wait.
TEST(DraftTokens, OthersWeigh) {
  StepCosts costs;
  for (uint32_t tokens = 1; tokens <= 16; ++tokens) measure(costs, tokens, 8 + tokens);
  const auto ask = [&](uint32_t others) {
    return draft_tokens(costs, {.step_tokens = 1 + others,
                                .expected_tokens = 1.0 + others,
                                .probability = 0.5,
                                .tokens_max = 8});
  };
  EXPECT_GT(ask(0), 0u);
  EXPECT_EQ(ask(7), 0u);
  EXPECT_EQ(draft_tokens(costs, {.step_tokens = StepCosts::kTokensMost,
                                 .expected_tokens = 1,
                                 .probability = 1,
                                 .tokens_max = 8}),
            0u);
}

TEST(ExpectedAccepted, IsASumOfPowers) {
  EXPECT_EQ(expected_accepted(0.5, 0), 0.0);
  EXPECT_EQ(expected_accepted(0.5, 3), 0.875);
  EXPECT_EQ(expected_accepted(1, 8), 8.0);
}

}  // namespace
}  // namespace hadal
