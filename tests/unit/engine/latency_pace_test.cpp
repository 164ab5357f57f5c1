#include "engine/latency_pace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace hadal {
namespace {

constexpr StepBounds kMost{.prompt_tokens_max = 512, .sequences_max = 32};

// A step takes so long: the weights are read once, each token costs its arithmetic.
struct Machine {
  double step = 0.02, sequence = 0.001, prompt_token = 0.001;
  double seconds(uint32_t answering, uint32_t prompt_tokens) const {
    return step + sequence * answering + prompt_token * prompt_tokens;
  }
};

TEST(LatencyPace, WithoutAnybodyAnsweringNothingIsBound) {
  LatencyPace pace(0.05, kMost);
  for (int i = 0; i < 100; ++i) pace.measured(0, 512, 10);
  EXPECT_EQ(pace.bounds().prompt_tokens_max, 512u);
  EXPECT_EQ(pace.bounds().sequences_max, 32u);
}

TEST(LatencyPace, ChunksFindTheTarget) {
  const Machine machine;
  for (const double target : {0.05, 0.1, 0.2}) {
    LatencyPace pace(target, kMost);
    double longest = 0, sum = 0;
    for (int i = 0; i < 200; ++i) {
      const uint32_t chunk = pace.bounds().prompt_tokens_max;
      const double seconds = machine.seconds(8, chunk);
      pace.measured(8, chunk, seconds);
      if (i < 10) continue;  // from 512 tokens down in a few steps
      longest = std::max(longest, seconds);
      sum += seconds / 190;
    }
    EXPECT_LT(longest, 1.3 * target);
    EXPECT_LT(sum, target);
    EXPECT_GT(sum, 0.75 * target) << "time is not left unused";
    EXPECT_EQ(pace.bounds().sequences_max, 32u) << "chunks give way first";
  }
}

TEST(LatencyPace, ChunksGrowAgainWhereThereIsTime) {
  LatencyPace pace(0.05, kMost);
  for (int i = 0; i < 50; ++i) pace.measured(20, pace.bounds().prompt_tokens_max, 0.2);
  EXPECT_EQ(pace.bounds().prompt_tokens_max, LatencyPace::kPromptTokensLeast);
  for (int i = 0; i < 50; ++i) pace.measured(1, pace.bounds().prompt_tokens_max, 0.01);
  EXPECT_EQ(pace.bounds().prompt_tokens_max, 512u);
  // Chunks that are small because prompts are say nothing.
  LatencyPace small(0.05, kMost);
  small.measured(4, 400, 0.1);
  const uint32_t bound = small.bounds().prompt_tokens_max;
  for (int i = 0; i < 20; ++i) small.measured(4, 5, 0.01);
  EXPECT_EQ(small.bounds().prompt_tokens_max, bound);
}

// Those that run are not sent away: as they end, fewer come after them, until steps are in time.
TEST(LatencyPace, TheBatchFindsTheTarget) {
  const Machine machine{.step = 0.02, .sequence = 0.005};
  LatencyPace pace(0.1, kMost);
  uint32_t running = 32;
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    pace.measured(running, 0, machine.seconds(running, 0));
    if (random() % 10 == 0) --running;
    running = std::max(running, std::min(running + 1, pace.bounds().sequences_max));
  }
  EXPECT_LE(machine.seconds(running, 0), 0.1);
  EXPECT_GE(machine.seconds(running, 0), 0.8 * 0.1);
}

TEST(LatencyPace, OneSlowStepIsChance) {
  LatencyPace pace(0.1, kMost);
  for (int i = 0; i < 100; ++i) pace.measured(10, 0, i % 4 == 0 ? 5.0 : 0.09);
  EXPECT_EQ(pace.bounds().sequences_max, 32u);
}

TEST(LatencyPace, ATargetBeyondReachLeavesOneSequenceAndSomePrompt) {
  LatencyPace pace(0.001, kMost);
  for (int i = 0; i < 1000; ++i) {
    const uint32_t running = pace.bounds().sequences_max;
    pace.measured(running, i % 2 ? pace.bounds().prompt_tokens_max : 0, 0.5);
  }
  EXPECT_EQ(pace.bounds().sequences_max, 1u);
  EXPECT_EQ(pace.bounds().prompt_tokens_max, LatencyPace::kPromptTokensLeast);
  for (int i = 0; i < 1000; ++i) pace.measured(pace.bounds().sequences_max, 0, 0.0001);
  EXPECT_EQ(pace.bounds().sequences_max, 32u);
}

TEST(LatencyPace, SmallStepsHaveSmallLeastChunks) {
  LatencyPace pace(0.01, {.prompt_tokens_max = 4, .sequences_max = 2});
  for (int i = 0; i < 20; ++i) pace.measured(1, 4, 1);
  EXPECT_EQ(pace.bounds().prompt_tokens_max, 4u);
  EXPECT_EQ(pace.bounds().sequences_max, 1u);
}

}  // namespace
}  // namespace hadal
