// What must not change a model's answer: where its past lies, how its prompt is cut into steps, who
// else is in the batch. Bit for bit on the reference device and on the one that behaves like a
// graphics card; on the CPU device, whose products of one row and of many round differently, within
// a bound.
#include <gtest/gtest.h>

#include <ostream>
#include <random>

#include "support/golden.h"
#include "support/model_harness.h"
#include "support/test_devices.h"

namespace hadal {
namespace {

constexpr double kCpuBound = 2e-3;  // of the logits' spread
constexpr uint32_t kTokens = 90;    // nearly three blocks

struct Case {
  std::string model, device;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.model << ' ' << c.device;
}

class ForwardLaws : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    device_ = open_test_device(GetParam().device);
    ASSERT_NE(device_, nullptr);
  }

  std::unique_ptr<ModelHarness> open(BlockOrder order = BlockOrder::kScattered,
                                     QuantType kv_type = QuantType::kF16) {
    const auto path = std::filesystem::path(HADAL_TEST_DATA) / GetParam().model;
    auto model = ModelHarness::open(path, {.devices = {device_.get()},
                                           .context_tokens = 96,
                                           .sequences_max = 4,
                                           .limits = {.tokens_max = 160, .logit_rows_max = 160},
                                           .kv_types = kv_type,
                                           .block_order = order});
    EXPECT_TRUE(model) << model.error().message;
    if (!model) return nullptr;
    vocabulary_ = (*model)->config().vocabulary;
    return std::move(*model);
  }

  std::vector<int32_t> tokens_of(uint32_t seed, uint32_t count) const {
    std::mt19937 random(seed);
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocabulary_);
    return tokens;
  }

  void expect_same(const std::vector<float>& found, const std::vector<float>& expected,
                   const std::string& what) const {
    ASSERT_EQ(found.size(), expected.size()) << what;
    ASSERT_FALSE(expected.empty()) << what;
    if (GetParam().device.starts_with("cpu")) {
      EXPECT_LT(largest_difference(found, expected), kCpuBound) << what;
    } else {
      EXPECT_TRUE(found == expected) << what << ": " << largest_difference(found, expected);
    }
  }

  std::unique_ptr<Device> device_;
  uint32_t vocabulary_ = 0;
};

std::vector<float> feed(ModelHarness& model, std::span<const int32_t> tokens, uint32_t chunk) {
  model.forget();
  auto logits = model.feed(tokens, chunk);
  EXPECT_TRUE(logits) << logits.error().message;
  return logits.value_or(std::vector<float>());
}

TEST_P(ForwardLaws, PagedIsContiguous) {
  for (const QuantType kv_type : {QuantType::kF16, QuantType::kF32}) {
    auto contiguous = open(BlockOrder::kContiguous, kv_type);
    auto scattered = open(BlockOrder::kScattered, kv_type);
    ASSERT_TRUE(contiguous && scattered);
    const auto tokens = tokens_of(1, kTokens);
    expect_same(feed(*scattered, tokens, 64), feed(*contiguous, tokens, 64), "scattered blocks");
  }
}

TEST_P(ForwardLaws, ChunkedIsWhole) {
  auto model = open();
  ASSERT_TRUE(model);
  const auto tokens = tokens_of(2, kTokens);
  const auto whole = feed(*model, tokens, kTokens);
  for (const uint32_t chunk : {1u, 2u, 7u, 31u, 32u, 33u, 64u}) {
    expect_same(feed(*model, tokens, chunk), whole, "chunks of " + std::to_string(chunk));
  }
}

// Four sequences of different lengths, cut into steps at random, mixed in random batches.
TEST_P(ForwardLaws, AloneIsInABatch) {
  auto model = open();
  ASSERT_TRUE(model);
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<float>> alone, batched(4);
  for (uint32_t i = 0; i < 4; ++i) {
    tokens.push_back(tokens_of(10 + i, 20 + 23 * i));
    alone.push_back(feed(*model, tokens[i], 160));
  }
  model->forget();
  std::mt19937 random(5);
  std::vector<size_t> done(4, 0);
  while (true) {
    std::vector<SequenceTokens> step;
    for (uint32_t i = 0; i < 4; ++i) {
      const size_t left = tokens[i].size() - done[i];
      if (left == 0 || random() % 4 == 0) continue;
      const size_t count = std::min<size_t>(left, random() % 3 == 0 ? 1 : 1 + random() % 30);
      step.push_back({i, std::span(tokens[i]).subspan(done[i], count)});
      done[i] += count;
    }
    if (step.empty()) {
      bool ended = true;
      for (uint32_t i = 0; i < 4; ++i) ended = ended && done[i] == tokens[i].size();
      if (ended) break;
      continue;
    }
    const auto logits = model->step(step);
    ASSERT_TRUE(logits) << logits.error().message;
    auto from = logits->begin();
    for (const SequenceTokens& part : step) {
      const auto end = from + static_cast<ptrdiff_t>(part.tokens.size() * vocabulary_);
      batched[part.sequence].insert(batched[part.sequence].end(), from, end);
      from = end;
    }
  }
  for (uint32_t i = 0; i < 4; ++i) {
    expect_same(batched[i], alone[i], "sequence " + std::to_string(i));
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* model :
       {"models/stories260K.gguf", "golden/llama/model.gguf",
        "golden/llama3-scaling-tied/model.gguf", "golden/qwen2/model.gguf",
        "golden/qwen3-yarn/model.gguf", "golden/qwen3-fp8/hf", "golden/deepseek-v2-lite/model.gguf",
        "golden/deepseek-v3-one-group/hf", "golden/deepseek-v3-fp8/hf"}) {
    for (const std::string& device : test_device_names()) all.push_back({model, device});
  }
  return all;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.model + "_" + info.param.device;
  for (char& letter : name) {
    if (std::isalnum(static_cast<unsigned char>(letter)) == 0) letter = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, ForwardLaws, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace hadal
