#include "engine/log_probabilities.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace hadal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TEST(LogProbabilities, AreTheSoftmaxOfTheLogits) {
  for (const size_t vocabulary : {1u, 7u, 64u, 129u, 5000u}) {
    for (const uint32_t top : {0u, 1u, 5u, 20u}) {
      LogProbabilityReport report(top);
      for (uint32_t seed = 0; seed < 10; ++seed) {
        auto logits = random_logits(seed, vocabulary);
        if (vocabulary > 10) logits[3] = logits[9];  // equal ones by their number
        double total = 0;
        for (const float logit : logits) total += std::exp(static_cast<double>(logit));
        std::vector<TokenId> order(vocabulary);
        for (size_t i = 0; i < vocabulary; ++i) order[i] = static_cast<TokenId>(i);
        std::ranges::stable_sort(order, [&](TokenId a, TokenId b) {
          return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
        });
        const auto expected = [&](TokenId token) {
          return static_cast<double>(logits[static_cast<size_t>(token)]) - std::log(total);
        };
        const auto chosen = static_cast<TokenId>(seed % vocabulary);
        const LogProbabilities given = report.of(logits, chosen);
        EXPECT_EQ(given.chosen.token, chosen);
        EXPECT_NEAR(given.chosen.log_probability, expected(chosen), 1e-5);
        ASSERT_EQ(given.top.size(), std::min<size_t>(top, vocabulary));
        for (size_t i = 0; i < given.top.size(); ++i) {
          ASSERT_EQ(given.top[i].token, order[i]) << i;
          EXPECT_NEAR(given.top[i].log_probability, expected(order[i]), 1e-5);
        }
      }
    }
  }
}

TEST(LogProbabilities, WhatIsNoNumberIsImpossible) {
  LogProbabilityReport report(3);
  const std::vector<float> logits = {kNaN, 1, -kInfinity, 1};
  const LogProbabilities given = report.of(logits, 0);
  EXPECT_EQ(given.chosen.log_probability, -kInfinity);
  EXPECT_EQ(given.top[0].token, 1);
  EXPECT_EQ(given.top[1].token, 3);
  EXPECT_NEAR(given.top[0].log_probability, std::log(0.5f), 1e-6);
  EXPECT_EQ(given.top[2].log_probability, -kInfinity);

  const std::vector<float> certain = {kInfinity, 3};
  EXPECT_EQ(report.of(certain, 0).chosen.log_probability, 0.0f);
  EXPECT_EQ(report.of(certain, 0).top.size(), 2u);
  const std::vector<float> nothing = {kNaN, -kInfinity};
  EXPECT_EQ(report.of(nothing, 1).chosen.log_probability, -kInfinity);
}

}  // namespace
}  // namespace hadal
