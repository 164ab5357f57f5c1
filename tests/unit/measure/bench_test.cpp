#include "measure/bench.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "device/registry.h"

namespace hadal {
namespace {

TEST(Spread, MedianOfOddAndEvenCounts) {
  const Spread odd = spread_of({3, 1, 2});
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.least, 1);
  EXPECT_EQ(odd.most, 3);
  EXPECT_EQ(spread_of({4, 1, 2, 9}).median, 3);
  EXPECT_EQ(spread_of({7}).median, 7);
}

TEST(DecodeBytes, WeightsOnceAndTheContextSoFar) {
  EngineInfo info;
  info.weight_bytes = 5000;
  info.decode_weight_bytes = 1000;
  info.kv_bytes_per_token = 10;
  EXPECT_EQ(decode_bytes(info, 0), 1000);
  EXPECT_EQ(decode_bytes(info, 2.5), 1025);
}

TEST(PeakMemory, CountsAnewWhenForgotten) {
  constexpr size_t kBlock = 64u << 20;
  const uint64_t before = peak_memory_bytes();
  {
    std::vector<char> block(kBlock);
    std::memset(block.data(), 1, block.size());
    ASSERT_GE(peak_memory_bytes(), before + kBlock / 2);
  }
  const uint64_t with_block = peak_memory_bytes();
  forget_peak_memory();
  EXPECT_LE(peak_memory_bytes(), with_block);
}

class BenchTest : public testing::Test {
 protected:
  void SetUp() override {
    auto file = ModelFile::open(std::string(HADAL_TEST_DATA) + "/models/stories260K.gguf");
    ASSERT_TRUE(file) << file.error().message;
    auto device = open_device({.name = "cpu", .threads = 1});
    ASSERT_TRUE(device) << device.error().message;
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(*device));
    auto engine = Engine::open(std::move(*file), std::move(devices), {.context_tokens = 64});
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = std::move(*engine);
  }
  std::unique_ptr<Engine> engine_;
};

TEST_F(BenchTest, EveryFigureIsThere) {
  std::vector<double> shares;
  const auto report = bench(*engine_, {.prompt_tokens = 32, .decode_tokens = 8, .repetitions = 2},
                            [&](const BenchProgress& now) { shares.push_back(now.done); });
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_GT(report->prompt_tokens_per_s.least, 0);
  EXPECT_LE(report->prompt_tokens_per_s.least, report->prompt_tokens_per_s.median);
  EXPECT_LE(report->decode_tokens_per_s.median, report->decode_tokens_per_s.most);
  EXPECT_GT(report->time_to_first_token_s.median, 0);
  EXPECT_GT(report->read_bytes_per_s.median, 1e8);
  EXPECT_GT(report->bandwidth_percent, 0);
  EXPECT_NEAR(report->bandwidth_percent,
              100 * report->decode_bytes_per_s / report->read_bytes_per_s.median, 1e-9);
  EXPECT_GT(report->peak_memory_bytes, 1u << 20);
  EXPECT_EQ(shares.size(), 7u);  // warm-up, then prompt, decode and bandwidth twice
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_LT(shares.back(), 1);
}

TEST_F(BenchTest, OnePartCanBeLeftOut) {
  const auto decode = bench(*engine_, {.prompt_tokens = 0, .decode_tokens = 4, .repetitions = 1});
  ASSERT_TRUE(decode) << decode.error().message;
  EXPECT_EQ(decode->prompt_tokens_per_s.median, 0);
  EXPECT_GT(decode->decode_tokens_per_s.median, 0);
}

TEST_F(BenchTest, WhatCannotBeMeasuredIsRefused) {
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = 0, .decode_tokens = 0}));
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = 8, .decode_tokens = 1}));
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = 8, .decode_tokens = 2, .repetitions = 0}));
  const auto long_run = bench(*engine_, {.prompt_tokens = 64, .decode_tokens = 2});
  ASSERT_FALSE(long_run);
  EXPECT_NE(long_run.error().message.find("--context 65"), std::string::npos);
}

}  // namespace
}  // namespace hadal
