#include "measure/bench.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "device/registry.h"

namespace hadal {
namespace {

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
  void SetUp() override { open(1, 2); }
  void open(uint32_t threads, uint32_t sequences_max) {
    auto file = ModelFile::open(std::string(HADAL_TEST_DATA) + "/models/stories260K.gguf");
    ASSERT_TRUE(file) << file.error().message;
    auto device = open_device({.name = "cpu", .threads = threads});
    ASSERT_TRUE(device) << device.error().message;
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(*device));
    auto engine = Engine::open(std::move(*file), std::move(devices),
                               {.context_tokens = 128, .sequences_max = sequences_max});
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = std::move(*engine);
  }
  std::unique_ptr<Engine> engine_;
};

TEST_F(BenchTest, EveryFigureIsThere) {
  std::vector<double> shares;
  const auto report = bench(*engine_, {.prompt_tokens = {32}, .decode_tokens = 8, .repetitions = 2},
                            [&](const BenchProgress& now) { shares.push_back(now.done); });
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_EQ(report->rows.size(), 2u);
  const BenchRow &prompt = report->rows[0], &decode = report->rows[1];
  EXPECT_EQ(prompt.kind, BenchKind::kPrompt);
  EXPECT_GT(prompt.tokens_per_s.least, 0);
  EXPECT_LE(prompt.tokens_per_s.least, prompt.tokens_per_s.median);
  EXPECT_GT(prompt.time_to_first_token_s.median, 0);
  EXPECT_TRUE(prompt.logits_hash);
  const EngineInfo& info = engine_->info();
  EXPECT_NEAR(
      prompt.multiply_adds_per_s,
      (info.token_multiply_adds + info.logits_multiply_adds / 32.0) * prompt.tokens_per_s.median,
      1e-6 * prompt.multiply_adds_per_s);
  EXPECT_NEAR(prompt.peak_percent,
              100 * prompt.multiply_adds_per_s / report->multiply_adds_per_s.median, 1e-9);
  EXPECT_GE(report->multiply_adds_per_s.median, report->attention_multiply_adds_per_s.median * 0.9);
  EXPECT_FALSE(report->multiply_adds_type.empty());
  for (const BenchRow& row : report->rows) {
    EXPECT_GT(row.roof_percent, 0);
    EXPECT_NEAR(row.roof_percent, 100 * row.tokens_per_s.median / row.roof_tokens_per_s, 1e-9);
  }
  EXPECT_EQ(decode.kind, BenchKind::kDecode);
  EXPECT_LE(decode.tokens_per_s.median, decode.tokens_per_s.most);
  EXPECT_GT(decode.between_tokens_s.p50, 0);
  EXPECT_LE(decode.between_tokens_s.p50, decode.between_tokens_s.p90);
  EXPECT_LE(decode.between_tokens_s.p90, decode.between_tokens_s.p99);
  EXPECT_GT(report->read_bytes_per_s.median, 1e8);
  EXPECT_GT(decode.bandwidth_percent, 0);
  EXPECT_NEAR(decode.bandwidth_percent, 100 * decode.bytes_per_s / report->read_bytes_per_s.median,
              1e-9);
  EXPECT_GT(report->peak_memory_bytes, 1u << 20);
  EXPECT_EQ(shares.size(), 7u);  // warm-up, then prompt, decode and the machine's speed twice
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_LT(shares.back(), 1);
}

// stories260K: 5 layers of width 64, 8 heads, 4 of keys and values, 172 wide inside, 512 tokens.
TEST_F(BenchTest, MultiplyAddsAreThoseOfTheMatrices) {
  constexpr uint64_t kAttention = 2 * 64 * 64 + 2 * 64 * 32, kFeedForward = 3 * 64 * 172;
  EXPECT_EQ(engine_->info().token_multiply_adds, 5 * (kAttention + kFeedForward));
  EXPECT_EQ(engine_->info().logits_multiply_adds, 512u * 64);
  EXPECT_EQ(engine_->info().decode_expert_bytes, 0u);
  EXPECT_EQ(engine_->info().attention.pair, 5u * 2 * 64);
  uint64_t of_tokens = 0, of_logits = 0;
  for (const MatrixWork& matrix : engine_->info().matrices) {
    (matrix.head ? of_logits : of_tokens) += matrix.multiply_adds;
  }
  EXPECT_EQ(of_tokens, engine_->info().token_multiply_adds);
  EXPECT_EQ(of_logits, engine_->info().logits_multiply_adds);
}

// The engine counts what it found in the cache, and a run whose past is not there fails.
TEST_F(BenchTest, EachLengthAtEachDepthWithSequencesTogether) {
  const auto report = bench(*engine_, {.prompt_tokens = {16, 48, 16},
                                       .decode_tokens = 4,
                                       .depths = {0, 33, 64},  // 33 is 64 in whole blocks
                                       .sequences = {1, 2},
                                       .repetitions = 1});
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_EQ(report->rows.size(), 8u);
  for (size_t i = 0; i < report->rows.size(); ++i) {
    const BenchRow& row = report->rows[i];
    EXPECT_EQ(row.depth, i < 4 ? 0u : 64u);
    EXPECT_EQ(row.kind, i % 4 < 2 ? BenchKind::kPrompt : BenchKind::kDecode);
    EXPECT_EQ(row.sequences, i % 4 == 3 ? 2u : 1u);
    EXPECT_GT(row.tokens_per_s.median, 0);
    EXPECT_EQ(row.logits_hash.has_value(), i < 2);
  }
  const BenchRow &alone = report->rows[6], &together = report->rows[7];
  const EngineInfo& info = engine_->info();
  EXPECT_DOUBLE_EQ(*alone.bytes_per_token, decode_bytes(info, 64 + 2.5));
  EXPECT_DOUBLE_EQ(*together.bytes_per_token, decode_bytes(info, 2 * (64 + 2.5)) / 2);
}

TEST_F(BenchTest, TheHashOfTheLogitsIsTheSameInEachRunAndDiffersByLength) {
  const auto hashes = [&] {
    std::vector<std::optional<uint64_t>> found;
    const auto report =
        bench(*engine_, {.prompt_tokens = {40, 41}, .decode_tokens = 0, .repetitions = 1});
    if (!report) return found;
    for (const BenchRow& row : report->rows) found.push_back(row.logits_hash);
    return found;
  };
  const auto first = hashes();
  ASSERT_EQ(first.size(), 2u);
  ASSERT_TRUE(first[0] && first[1]);
  EXPECT_NE(first[0], first[1]);
  open(2, 1);
  EXPECT_EQ(hashes(), first);
}

TEST_F(BenchTest, APromptThatIsInTheCacheIsNotMeasured) {
  const BenchOptions options{.prompt_tokens = {40}, .decode_tokens = 0, .repetitions = 1};
  ASSERT_TRUE(bench(*engine_, options));
  const auto again = bench(*engine_, options);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("0 tokens were to be in the cache, and 32 were"),
            std::string::npos);
}

TEST_F(BenchTest, OnePartCanBeLeftOut) {
  const auto decode = bench(*engine_, {.prompt_tokens = {0}, .decode_tokens = 4, .repetitions = 1});
  ASSERT_TRUE(decode) << decode.error().message;
  ASSERT_EQ(decode->rows.size(), 1u);
  EXPECT_EQ(decode->rows.front().kind, BenchKind::kDecode);
}

TEST_F(BenchTest, WhatCannotBeMeasuredIsRefused) {
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = {0}, .decode_tokens = 0}));
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = {8}, .decode_tokens = 1}));
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = {8}, .decode_tokens = 2, .repetitions = 0}));
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = {8}, .depths = {}}));
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = {8}, .decode_tokens = 2, .sequences = {0}}));
  EXPECT_FALSE(bench(*engine_, {.prompt_tokens = std::vector<uint32_t>(kBenchListMax + 1, 8)}));
  const auto deep = bench(*engine_, {.prompt_tokens = {64}, .decode_tokens = 2, .depths = {50}});
  ASSERT_FALSE(deep);
  EXPECT_NE(deep.error().message.find("take 129 tokens; the context holds 128"), std::string::npos)
      << deep.error().message;
  const auto many = bench(*engine_, {.prompt_tokens = {8}, .decode_tokens = 2, .sequences = {3}});
  ASSERT_FALSE(many);
  EXPECT_NE(many.error().message.find("takes 2 at once"), std::string::npos);
}

TEST(Ladder, DoublesUpToTheDeepest) {
  EXPECT_EQ(ladder_depths(0), (std::vector<uint32_t>{0}));
  EXPECT_EQ(ladder_depths(100), (std::vector<uint32_t>{0, 100}));
  EXPECT_EQ(ladder_depths(2048), (std::vector<uint32_t>{0, 512, 1024, 2048}));
  EXPECT_EQ(ladder_depths(3000), (std::vector<uint32_t>{0, 512, 1024, 2048, 3000}));
  EXPECT_LE(ladder_depths(UINT32_MAX).size(), kBenchListMax);
}

}  // namespace
}  // namespace hadal
