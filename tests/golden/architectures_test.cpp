// Tiny random models of every architecture, on every device and split over two, held layer by layer
// to what an independent implementation computed: the first stage that differs is named.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "device/registry.h"
#include "support/golden.h"
#include "support/guarded_device.h"
#include "support/model_harness.h"

namespace hadal {
namespace {

// Parts of a stage's spread. The reference device sums in another order than the golden's maker;
// the CPU device rounds activations besides.
constexpr double kReferenceBound = 1e-4;
constexpr double kCpuBound = 1e-3;
constexpr double kHalfCacheBound = 2e-3;  // a cache of f16 has 11 bits

struct Setup {
  std::string name;
  std::vector<std::string> devices;  // names for open_device, or "guarded"
  std::vector<uint32_t> layer_splits;
  double bound = kReferenceBound;
  QuantType kv_type = QuantType::kF32;
  uint32_t tokens_max = 64;
};

struct Case {
  std::string model;
  std::string file;  // in the model's folder
  Setup setup;
  uint32_t chunk;
  double eight_bit_divergence;  // cases() says what it is
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.model << ' ' << c.file << ' ' << c.setup.name << " chunk " << c.chunk;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  std::string name =
      c.model + "_" + c.file + "_" + c.setup.name + "_chunk" + std::to_string(c.chunk);
  for (char& letter : name) {
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  }
  return name;
}

std::unique_ptr<Device> open(const std::string& name) {
  if (name == "guarded") return make_guarded_device({});
  auto device = open_device({.name = name, .threads = 2});
  EXPECT_TRUE(device) << device.error().message;
  return device ? std::move(*device) : nullptr;
}

class Architectures : public testing::TestWithParam<Case> {};

TEST_P(Architectures, EveryStageIsTheGolden) {
  const Case& c = GetParam();
  const std::filesystem::path folder = std::filesystem::path(HADAL_TEST_DATA) / "golden" / c.model;
  auto golden = read_golden(folder);
  ASSERT_TRUE(golden) << golden.error().message;

  std::vector<std::unique_ptr<Device>> devices;
  HarnessOptions options = {.layer_splits = c.setup.layer_splits,
                            .limits = {.tokens_max = c.setup.tokens_max, .logit_rows_max = 64},
                            .kv_types = c.setup.kv_type};
  for (const std::string& name : c.setup.devices) {
    devices.push_back(open(name));
    ASSERT_TRUE(devices.back());
    options.devices.push_back(devices.back().get());
  }
  auto model = ModelHarness::open(folder / c.file, options);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE((*model)->config().warnings.empty()) << (*model)->config().warnings.front();

  RecordingTap tap;
  auto logits = (*model)->feed(golden->tokens, c.chunk, &tap);
  ASSERT_TRUE(logits) << logits.error().message;
  ASSERT_EQ(golden->stages.size(), tap.records().size());
  if (c.setup.kv_type == QuantType::kQ8_0) {
    const Golden::Stage& last = golden->stages.back();
    EXPECT_LE(mean_divergence(*logits, last.rows.values, last.rows.columns),
              c.eight_bit_divergence);
    return;
  }
  for (const Golden::Stage& stage : golden->stages) {
    const auto found = tap.records().find(stage.name);
    ASSERT_NE(found, tap.records().end()) << stage.name;
    ASSERT_LE(largest_difference(found->second.values, stage.rows.values), c.setup.bound)
        << "the first stage that differs: " << stage.name;
  }
  EXPECT_LE(largest_difference(*logits, golden->stages.back().rows.values), c.setup.bound);
}

std::vector<Case> cases() {
  const Setup reference = {.name = "reference", .devices = {"reference"}};
  const Setup guarded = {.name = "guarded", .devices = {"guarded"}};
  const Setup guarded_reference = {
      .name = "guarded_reference", .devices = {"guarded", "reference"}, .layer_splits = {1, 0}};
  const Setup guarded_cpu = {.name = "guarded_cpu",
                             .devices = {"guarded", "cpu"},
                             .layer_splits = {1, 0},
                             .bound = kCpuBound};
  const Setup cpu_guarded = {.name = "cpu_guarded",
                             .devices = {"cpu", "guarded"},
                             .layer_splits = {1, 0},
                             .bound = kCpuBound};
  const Setup cpu = {.name = "cpu", .devices = {"cpu"}, .bound = kCpuBound};
  const Setup cpu_half = {.name = "cpu_f16_cache",
                          .devices = {"cpu"},
                          .bound = kHalfCacheBound,
                          .kv_type = QuantType::kF16};
  const auto eight_bits = [](Setup setup) {
    setup.name += "_q8_0_cache";
    setup.kv_type = QuantType::kQ8_0;
    return setup;
  };
  // A cache of q8_0 has 8 bits of the greatest of 32 values. That can tip a router which hesitates,
  // so not the stages are held but the logits as a whole: their mean divergence, in nats, a quarter
  // above what each model has. A cache whose scales are 1/16 too great has 2.8 to 87 times as
  // much, one with a wrong sign in each row 0.35 and more.
  struct Model {
    const char* name;
    uint32_t layers;
    bool gguf;
    double eight_bit_divergence = 0;
  };
  std::vector<Case> all;
  for (const Model& model :
       {Model{"llama", 3, true}, Model{"llama3-scaling-tied", 3, true}, Model{"qwen2", 3, true},
        Model{"qwen3-yarn", 3, true}, Model{"qwen3-yarn-attn-factor", 3, true},
        Model{"qwen3-fp8", 2, false}, Model{"deepseek-v2-lite", 3, true, 0.0144},
        Model{"deepseek-v2-groups", 3, true, 0.0060}, Model{"deepseek-v3", 5, true, 0.080},
        Model{"deepseek-v3-one-group", 3, true, 0.053}, Model{"deepseek-v3-fp8", 2, false, 0.0014},
        Model{"deepseek-v2-every-second", 4, false, 0.0029},
        Model{"deepseek-v3-mtp", 2, true, 0.0001}}) {
    for (const char* file : {"hf", "model.gguf"}) {
      if (file == std::string("model.gguf") && !model.gguf) continue;
      for (const Setup& setup :
           {reference, guarded, guarded_reference, guarded_cpu, cpu_guarded, cpu, cpu_half,
            eight_bits(reference), eight_bits(guarded), eight_bits(cpu)}) {
        // The tiny models' heads are no whole blocks; a latent's row is filled up to them.
        const bool latent = std::string_view(model.name).starts_with("deepseek");
        if (setup.kv_type == QuantType::kQ8_0 && !latent) continue;
        for (const uint32_t chunk : {64u, 7u, 1u}) {
          Case c = {model.name, file, setup, chunk, model.eight_bit_divergence};
          if (!c.setup.layer_splits.empty()) c.setup.layer_splits.back() = model.layers;
          all.push_back(c);
        }
      }
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Golden, Architectures, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace hadal
