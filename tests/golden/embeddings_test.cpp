// The engine's embeddings, held to the mean of what an independent implementation computed for each
// token behind the last norm.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "device/registry.h"
#include "engine/engine.h"
#include "support/golden.h"

namespace hadal {
namespace {

// Parts of the spread, as in architectures_test.cpp.
constexpr double kReferenceBound = 1e-4, kCpuBound = 2e-3;

struct Case {
  std::string model, device;
  uint32_t step_tokens_max;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.model << ' ' << c.device << " steps of " << c.step_tokens_max;
}

struct Reader : TokenSink {
  std::vector<float> embedding;
  std::string error = "it did not end";
  void on_embedding(std::span<const float> mean) override {
    embedding.assign(mean.begin(), mean.end());
  }
  TokenDecision on_token(TokenId) override {
    ADD_FAILURE() << "an embedding is no answer";
    return {};
  }
  void on_finish(FinishReason, const Usage&, std::string_view why) override { error = why; }
};

// Mean of rows in double.
std::vector<float> mean_of(const NpyRows& rows) {
  std::vector<double> sums(rows.columns);
  for (size_t i = 0; i < rows.values.size(); ++i) sums[i % rows.columns] += rows.values[i];
  std::vector<float> mean;
  const size_t count = rows.values.size() / rows.columns;
  for (const double sum : sums) mean.push_back(static_cast<float>(sum / count));
  return mean;
}

class GoldenEmbeddings : public testing::TestWithParam<Case> {};

TEST_P(GoldenEmbeddings, AreTheMeanOfTheLastNorm) {
  const Case& c = GetParam();
  const auto folder = std::filesystem::path(HADAL_TEST_DATA) / "golden" / c.model;
  auto golden = read_golden(folder);
  ASSERT_TRUE(golden) << golden.error().message;
  auto file = ModelFile::open(folder / "model.gguf");
  ASSERT_TRUE(file) << file.error().message;
  auto device = open_device({.name = c.device, .threads = 2});
  ASSERT_TRUE(device) << device.error().message;
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(*device));
  auto engine = Engine::open(std::move(*file), std::move(devices),
                             {.context_tokens = static_cast<uint32_t>(golden->tokens.size()) + 1,
                              .step_tokens_max = c.step_tokens_max,
                              .key_type = QuantType::kF32,
                              .value_type = QuantType::kF32,
                              .embeddings = true});
  ASSERT_TRUE(engine) << engine.error().message;
  const auto reader = std::make_shared<Reader>();
  Request request;
  request.prompt = golden->tokens;
  request.sink = reader;
  request.embedding = true;
  ASSERT_TRUE((*engine)->submit(std::move(request)));
  for (auto worked = (*engine)->step(); worked && *worked;) worked = (*engine)->step();
  ASSERT_EQ(reader->error, "");

  const auto norm = std::ranges::find(golden->stages, "norm", &Golden::Stage::name);
  ASSERT_NE(norm, golden->stages.end());
  ASSERT_EQ(norm->rows.values.size(), golden->tokens.size() * norm->rows.columns);
  EXPECT_LE(largest_difference(reader->embedding, mean_of(norm->rows)),
            c.device == "cpu" ? kCpuBound : kReferenceBound);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* model : {"llama", "qwen2", "qwen3-yarn", "deepseek-v2-lite", "deepseek-v3"}) {
    all.push_back({model, "reference", 512});
    all.push_back({model, "reference", 7});
    all.push_back({model, "cpu", 512});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenEmbeddings, testing::ValuesIn(cases()));

}  // namespace
}  // namespace hadal
