// The layer that predicts one token further, held to the paper's equations as torch computes them:
// every stage, on every device, fed whole and in chunks.
#include <gtest/gtest.h>

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

struct Case {
  std::string file;  // in the model's folder
  std::vector<std::string>
      devices;  // names for open_device, or "guarded"; the layers split behind 1
  double bound;
  uint32_t chunk;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.file << " chunk " << c.chunk;
  for (const std::string& device : c.devices) *out << ' ' << device;
}

std::unique_ptr<Device> open(const std::string& name) {
  if (name == "guarded") return make_guarded_device({});
  auto device = open_device({.name = name, .threads = 2});
  EXPECT_TRUE(device) << device.error().message;
  return device ? std::move(*device) : nullptr;
}

class PredictionLayer : public testing::TestWithParam<Case> {};

TEST_P(PredictionLayer, EveryStageIsTheGolden) {
  const Case& c = GetParam();
  const auto folder = std::filesystem::path(HADAL_TEST_DATA) / "golden" / "deepseek-v3-mtp";
  auto golden = read_golden(folder);
  ASSERT_TRUE(golden) << golden.error().message;

  std::vector<std::unique_ptr<Device>> devices;
  HarnessOptions options = {.limits = {.tokens_max = 64, .logit_rows_max = 64}, .predicts = true};
  for (const std::string& name : c.devices) {
    devices.push_back(open(name));
    ASSERT_TRUE(devices.back());
    options.devices.push_back(devices.back().get());
  }
  if (devices.size() == 2) options.layer_splits = {1, 2};
  auto model = ModelHarness::open(folder / c.file, options);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE((*model)->config().warnings.empty()) << (*model)->config().warnings.front();

  RecordingTap tap;
  auto logits = (*model)->feed(golden->tokens, c.chunk, &tap);
  ASSERT_TRUE(logits) << logits.error().message;
  for (const Golden::Stage& stage : golden->stages) {
    const auto found = tap.records().find(stage.name);
    ASSERT_NE(found, tap.records().end()) << stage.name;
    ASSERT_LE(largest_difference(found->second.values, stage.rows.values), c.bound) << stage.name;
  }
  for (const char* name : {"draft.input", "draft.layer", "draft.norm", "draft.logits"}) {
    auto rows = read_npy(folder / (std::string(name) + ".npy"));
    ASSERT_TRUE(rows) << rows.error().message;
    const auto found = tap.records().find(name);
    ASSERT_NE(found, tap.records().end()) << name;
    ASSERT_LE(largest_difference(found->second.values, rows->values), c.bound)
        << "the first stage that differs: " << name;
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* file : {"hf", "model.gguf"}) {
    for (const uint32_t chunk : {64u, 7u, 1u}) {
      all.push_back({file, {"reference"}, 1e-4, chunk});
      all.push_back({file, {"guarded"}, 1e-4, chunk});
      all.push_back({file, {"guarded", "reference"}, 1e-4, chunk});
      all.push_back({file, {"cpu"}, 1e-3, chunk});
      all.push_back({file, {"cpu", "guarded"}, 1e-3, chunk});
      all.push_back({file, {"guarded", "cpu"}, 1e-3, chunk});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Golden, PredictionLayer, testing::ValuesIn(cases()));

}  // namespace
}  // namespace hadal
