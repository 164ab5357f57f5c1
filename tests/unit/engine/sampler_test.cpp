#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <ostream>
#include <random>

#include "engine/random.h"
#include "engine/softmax.h"

namespace hadal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(uint64_t seed, uint32_t count, float deviation) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// What the header says, in the plainest way: sort everything, double precision.
struct Plain {
  SamplingOptions options;
  std::vector<TokenId> prompt, answer;

  // The tokens that may be drawn and their probabilities, in the order of their numbers.
  std::map<TokenId, double> distribution(std::vector<float> given) const {
    std::vector<double> logits(given.begin(), given.end());
    for (size_t i = 0; i < logits.size(); ++i) {
      const auto token = static_cast<TokenId>(i);
      const auto count = std::count(answer.begin(), answer.end(), token);
      if (count > 0 || std::count(prompt.begin(), prompt.end(), token) > 0) {
        double& logit = logits[i];
        const double penalty = options.repetition_penalty;
        logit = logit > 0 ? logit / penalty : logit * penalty;
      }
      if (count > 0) {
        logits[i] -=
            options.presence_penalty + options.frequency_penalty * static_cast<double>(count);
      }
    }
    std::vector<TokenId> order(logits.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
    const auto at = [&](TokenId token) { return logits[static_cast<size_t>(token)]; };
    std::stable_sort(order.begin(), order.end(),
                     [&](TokenId a, TokenId b) { return at(a) > at(b); });
    if (options.temperature == 0) return {{order[0], 1.0}};
    if (options.top_k > 0 && options.top_k < order.size()) order.resize(options.top_k);
    const double best = at(order[0]);
    const auto weight = [&](TokenId token) {
      return std::exp((at(token) - best) / double{options.temperature});
    };
    double total = 0;
    for (const TokenId token : order) total += weight(token);
    std::map<TokenId, double> kept;
    double sum = 0, kept_sum = 0;
    for (const TokenId token : order) {
      if (sum >= double{options.top_p} * total) break;
      sum += weight(token);
      if (weight(token) < double{options.min_p}) continue;
      kept[token] = weight(token);
      kept_sum += weight(token);
    }
    for (auto& [token, probability] : kept) probability /= kept_sum;
    return kept;
  }
};

struct Case {
  const char* name;
  SamplingOptions options;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

const Case kCases[] = {
    {"recommended", {.temperature = 0.6f, .top_p = 0.95f}},
    {"all", {.temperature = 1.0f, .top_p = 1.0f}},
    {"cold", {.temperature = 0.05f, .top_p = 1.0f}},
    {"hot", {.temperature = 5.0f, .top_p = 0.9f}},
    {"top_k", {.temperature = 1.0f, .top_k = 7, .top_p = 1.0f}},
    {"top_k_of_more_than_the_groups", {.temperature = 2.0f, .top_k = 90, .top_p = 1.0f}},
    {"top_k_top_p", {.temperature = 1.5f, .top_k = 20, .top_p = 0.7f}},
    {"min_p", {.temperature = 1.0f, .top_p = 1.0f, .min_p = 0.1f}},
    {"all_limits", {.temperature = 1.2f, .top_k = 40, .top_p = 0.9f, .min_p = 0.05f}},
    {"small_top_p", {.temperature = 1.0f, .top_p = 0.01f}},
    {"repetition", {.temperature = 0.8f, .top_p = 0.95f, .repetition_penalty = 1.3f}},
    {"encouraged", {.temperature = 0.8f, .top_p = 1.0f, .repetition_penalty = 0.7f}},
    {"presence_frequency",
     {.temperature = 0.8f, .top_p = 0.95f, .presence_penalty = 1.5f, .frequency_penalty = -0.4f}},
};

class SamplerCases : public testing::TestWithParam<Case> {};

// Over thousands of draws each token comes as often as the plain distribution says: chi-squared
// over the likely ones, and never one that is left out.
TEST_P(SamplerCases, DrawsFromTheDistributionThatTheHeaderDescribes) {
  constexpr uint32_t kVocabulary = 333;
  constexpr int kDraws = 20000;
  const auto logits = random_logits(3, kVocabulary, 2.0f);
  Plain plain{GetParam().options, {5, 9, 9, 200}, {}};
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  plain.prompt.push_back(static_cast<TokenId>(best));
  plain.answer = {static_cast<TokenId>(best), 17, 17, 17};
  const auto expected = plain.distribution(logits);

  std::map<TokenId, int> counts;
  for (int draw = 0; draw < kDraws; ++draw) {
    SamplingOptions options = plain.options;
    options.seed = static_cast<uint64_t>(draw);
    Sampler sampler(options, kVocabulary);
    sampler.add_prompt(plain.prompt);
    for (const TokenId token : plain.answer) sampler.add(token);
    ++counts[sampler.sample(logits)];
  }
  double chi_squared = 0;
  int cells = 0, rare = 0;
  double rare_expected = 0;
  for (const auto& [token, probability] : expected) {
    const double mean = probability * kDraws;
    if (mean < 10) {
      rare += counts[token];
      rare_expected += mean;
      continue;
    }
    chi_squared += (counts[token] - mean) * (counts[token] - mean) / mean;
    ++cells;
  }
  if (rare_expected > 10) {
    chi_squared += (rare - rare_expected) * (rare - rare_expected) / rare_expected;
    ++cells;
  }
  for (const auto& [token, count] : counts) {
    EXPECT_TRUE(count == 0 || expected.contains(token)) << "token " << token << " is left out";
  }
  // Mean cells - 1, variance twice that: five deviations.
  EXPECT_LT(chi_squared, cells + 5 * std::sqrt(2.0 * cells)) << cells << " cells";
}

// Draw by draw: with the sampler's own random number the plain walk meets the same token, unless
// the number lies on a border within float's rounding.
TEST_P(SamplerCases, AgreesWithThePlainWalkDrawByDraw) {
  constexpr uint32_t kVocabulary = 2000;
  int borders = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const auto logits = random_logits(seed, kVocabulary, 3.0f);
    Plain plain{GetParam().options, {1, 2, 3}, {}};
    plain.options.seed = seed;
    Sampler sampler(plain.options, kVocabulary);
    sampler.add_prompt(plain.prompt);
    for (uint64_t i = 0; i < 3; ++i) {
      const auto distribution = plain.distribution(logits);
      const double target = random_unit(seed, i);
      TokenId expected = distribution.rbegin()->first;
      double sum = 0, nearest = 1;
      for (const auto& [token, probability] : distribution) {
        const double before = sum;
        sum += probability;
        nearest = std::min(nearest, std::abs(target - sum));
        if (before <= target && target < sum) expected = token;
      }
      const TokenId token = sampler.sample(logits);
      if (nearest < 3e-6) {
        ++borders;
      } else {
        ASSERT_EQ(token, expected) << "seed " << seed << " token " << i;
      }
      sampler.add(token);
      plain.answer.push_back(token);
    }
  }
  EXPECT_LT(borders, 20);
}

INSTANTIATE_TEST_SUITE_P(All, SamplerCases, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Sampler, GreedyTakesTheLargestAndOfEqualsTheFirst) {
  Sampler sampler({.temperature = 0}, 200);
  std::vector<float> logits(200, 1.0f);
  EXPECT_EQ(sampler.sample(logits), 0);
  logits[150] = logits[99] = 2.0f;
  EXPECT_EQ(sampler.sample(logits), 99);
}

TEST(Sampler, EqualLogitsAreKeptFromTheFirst) {
  std::vector<float> logits(200, 1.0f);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Sampler top_k({.temperature = 1, .top_k = 3, .top_p = 1, .seed = seed}, 200);
    EXPECT_LT(top_k.sample(logits), 3);
    Sampler top_p({.temperature = 1, .top_p = 0.1f, .seed = seed}, 200);
    EXPECT_LT(top_p.sample(logits), 21);
  }
}

TEST(Sampler, WhatIsNoNumberIsNeverChosen) {
  for (const float temperature : {0.0f, 1.0f}) {
    for (const uint32_t top_k : {0u, 2u}) {
      std::vector<float> logits(100, kNaN);
      Sampler sampler({.temperature = temperature, .top_k = top_k}, 100);
      EXPECT_EQ(sampler.sample(logits), Sampler::kNoToken);
      logits[50] = -kInfinity;
      EXPECT_EQ(sampler.sample(logits), Sampler::kNoToken);
      logits[70] = -1e30f;
      EXPECT_EQ(sampler.sample(logits), 70);
      logits[30] = kInfinity;
      EXPECT_EQ(sampler.sample(logits), 30);
    }
  }
}

TEST(Sampler, SurvivesExtremeOptions) {
  std::vector<float> logits(64, -3e38f);
  logits[3] = 3e38f;
  for (const float temperature : {1e-40f, 1e-20f, 100.0f}) {
    Sampler sampler({.temperature = temperature,
                     .top_p = 1e-30f,
                     .repetition_penalty = 100,
                     .presence_penalty = 2},
                    64);
    sampler.add_prompt(std::vector<TokenId>{4, 5});
    sampler.add(6);
    EXPECT_EQ(sampler.sample(logits), 3) << temperature;
  }
}

TEST(Sampler, ADrawDependsOnSeedAndPlaceAlone) {
  const auto logits = random_logits(1, 1000, 1.0f);
  std::vector<TokenId> first, again, other;
  for (auto* run : {&first, &again, &other}) {
    Sampler sampler({.temperature = 1, .top_p = 1, .seed = run == &other ? 43u : 42u}, 1000);
    for (int i = 0; i < 50; ++i) {
      run->push_back(sampler.sample(logits));
      EXPECT_EQ(sampler.sample(logits), run->back());  // looking again changes nothing
      sampler.add(0);                                  // forced: what was drawn does not matter
    }
  }
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

// The tokens of a seed, written down: another compiler or machine must give the same.
TEST(Sampler, TheSameTokensOnEveryMachine) {
  std::vector<float> logits(3000);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(mix_bits(i) % 4096) / 512.0f;
  }
  Sampler sampler({.temperature = 0.6f, .top_p = 0.95f, .seed = 7}, 3000);
  std::vector<TokenId> tokens;
  for (int i = 0; i < 8; ++i) {
    tokens.push_back(sampler.sample(logits));
    sampler.add(tokens.back());
  }
  EXPECT_EQ(tokens, (std::vector<TokenId>{2168, 1990, 1654, 1807, 1039, 516, 2689, 2652}));
}

TEST(Sampler, OptionsAreRefusedByName) {
  struct Wrong {
    SamplingOptions options;
    const char* name;
  };
  const Wrong wrong[] = {
      {{.temperature = -0.1f}, "temperature"},
      {{.temperature = 100.5f}, "temperature"},
      {{.temperature = kNaN}, "temperature"},
      {{.top_p = 0}, "top_p"},
      {{.top_p = 1.01f}, "top_p"},
      {{.min_p = 1}, "min_p"},
      {{.min_p = -1}, "min_p"},
      {{.repetition_penalty = 0}, "repetition_penalty"},
      {{.repetition_penalty = kInfinity}, "repetition_penalty"},
      {{.presence_penalty = 2.1f}, "presence_penalty"},
      {{.frequency_penalty = -2.1f}, "frequency_penalty"},
  };
  for (const Wrong& each : wrong) {
    const Status status = each.options.validate();
    ASSERT_FALSE(status) << each.name;
    EXPECT_TRUE(status.error().message.starts_with(each.name)) << status.error().message;
  }
  EXPECT_TRUE(SamplingOptions{}.validate());
}

const SamplingOptions kEveryKind[] = {
    {.temperature = 0},
    {.temperature = 0, .repetition_penalty = 1.3f, .presence_penalty = 0.5f},
    {.temperature = 1, .top_p = 1},
    {.temperature = 0.7f, .top_p = 0.8f},
    {.temperature = 1, .top_k = 7, .top_p = 1},
    {.temperature = 1, .top_k = 7, .top_p = 0.9f, .min_p = 0.05f},
    {.temperature = 1.2f, .top_p = 1, .min_p = 0.1f, .frequency_penalty = 0.3f},
};

// What is forbidden is as if the model had said -infinity.
TEST(Sampler, AMaskForbidsBeforeAnythingElse) {
  for (const uint32_t vocabulary : {40u, 64u, 1000u}) {
    std::mt19937 random(vocabulary);
    for (const SamplingOptions& options : kEveryKind) {
      Sampler masked(options, vocabulary), plain(options, vocabulary);
      for (int round = 0; round < 40; ++round) {
        auto logits = random_logits(static_cast<uint64_t>(round), vocabulary, 3);
        std::vector<uint32_t> allowed((vocabulary + 31) / 32);
        for (uint32_t& word : allowed) word = round % 3 == 0 ? random() & random() : random();
        if (round % 5 == 0) allowed.assign(allowed.size(), UINT32_MAX);
        const TokenId token = masked.sample(logits, allowed);
        for (uint32_t i = 0; i < vocabulary; ++i) {
          if (((allowed[i / 32] >> (i % 32)) & 1) == 0) logits[i] = -kInfinity;
        }
        ASSERT_EQ(token, plain.sample(logits));
        masked.add(token);
        plain.add(token);
      }
    }
  }
}

TEST(Sampler, AMaskThatAllowsOneOrNothing) {
  const auto logits = random_logits(3, 70, 2);
  for (const SamplingOptions& options : kEveryKind) {
    Sampler sampler(options, 70);
    std::vector<uint32_t> allowed(3);
    EXPECT_EQ(sampler.sample(logits, allowed), Sampler::kNoToken);
    allowed[2] = 1u << 5;
    EXPECT_EQ(sampler.sample(logits, allowed), 69);
  }
}

TEST(Sampler, BiasesAreAddedToTheLogits) {
  const std::vector<LogitBias> biases = {{3, 2.5f}, {17, -100}, {39, 1}, {3, 1}, {5, 100}};
  for (const SamplingOptions& options : kEveryKind) {
    Sampler biased(options, 40, biases), plain(options, 40);
    for (uint64_t round = 0; round < 50; ++round) {
      auto logits = random_logits(round, 40, 3);
      if (round % 2) logits[5] = -kInfinity;  // nothing makes it possible
      const TokenId token = biased.sample(logits);
      for (const auto& [id, bias] : biases) logits[static_cast<size_t>(id)] += bias;
      ASSERT_EQ(token, plain.sample(logits));
      ASSERT_EQ(token == 5, round % 2 == 0);
      biased.add(token);
      plain.add(token);
    }
  }
}

TEST(Sampler, BiasesHaveLimits) {
  const auto error_of = [](std::vector<LogitBias> biases) {
    const Status status = Sampler::check_bias(biases, 40);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(error_of({{0, 100}, {39, -100}}), "");
  EXPECT_EQ(error_of(std::vector<LogitBias>(1024, LogitBias{1, 1})), "");
  EXPECT_NE(error_of(std::vector<LogitBias>(1025, LogitBias{1, 1})).find("1025"),
            std::string::npos);
  EXPECT_NE(error_of({{40, 1}}).find("token 40"), std::string::npos);
  EXPECT_NE(error_of({{-1, 1}}).find("token -1"), std::string::npos);
  EXPECT_NE(error_of({{7, 100.5f}}).find("100.5"), std::string::npos);
  EXPECT_NE(error_of({{7, kNaN}}).find("token 7"), std::string::npos);
}

TEST(Softmax, ExponentialIsExactToTwoUnits) {
  for (int i = 0; i < 200000; ++i) {
    const float x = -87.0f * static_cast<float>(i) / 200000.0f;
    const double exact = std::exp(double{x});
    EXPECT_NEAR(exp_nonpositive(x) / exact, 1.0, 2.4e-7) << x;
  }
  EXPECT_EQ(exp_nonpositive(0.0f), 1.0f);
  EXPECT_EQ(exp_nonpositive(-0.0f), 1.0f);
  EXPECT_EQ(exp_nonpositive(-87.5f), 0.0f);
  EXPECT_EQ(exp_nonpositive(-kInfinity), 0.0f);
  EXPECT_EQ(exp_nonpositive(kNaN), 0.0f);
}

TEST(Random, UnitNumbersAreEven) {
  double sum = 0, square = 0;
  constexpr int kCount = 100000;
  for (int i = 0; i < kCount; ++i) {
    const double unit = random_unit(static_cast<uint64_t>(i % 100), static_cast<uint64_t>(i / 100));
    ASSERT_GE(unit, 0.0);
    ASSERT_LT(unit, 1.0);
    sum += unit;
    square += unit * unit;
  }
  EXPECT_NEAR(sum / kCount, 0.5, 0.005);
  EXPECT_NEAR(square / kCount, 1.0 / 3, 0.005);
}

}  // namespace
}  // namespace hadal
