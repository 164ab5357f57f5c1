// Trained models: stories260K, which is in the repository, and larger ones where they have been
// fetched (the folder in HADAL_TEST_MODELS, else build/models).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "device/registry.h"
#include "support/golden.h"
#include "support/model_harness.h"

namespace hadal {
namespace {

const std::filesystem::path kData = HADAL_TEST_DATA;

constexpr double kReferenceBound = 1e-3;   // of a stage's spread
constexpr double kDivergenceBound = 1e-3;  // nats: the CPU device rounds activations

struct RealModel {
  std::string golden;  // folder below tests/data/golden
  std::filesystem::path file;
  std::string device;
};

void PrintTo(const RealModel& c, std::ostream* out) {
  *out << c.golden << ' ' << c.device;
}

std::filesystem::path fetched(const std::string& name) {
  const char* folder = std::getenv("HADAL_TEST_MODELS");
  return (folder != nullptr ? std::filesystem::path(folder) : kData / "../../build/models") / name;
}

std::string name_of(const testing::TestParamInfo<RealModel>& info) {
  std::string name = info.param.golden + "_" + info.param.device;
  for (char& letter : name) {
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  }
  return name;
}

class RealModels : public testing::TestWithParam<RealModel> {};

// Goldens of real models keep the last rows of each stage only.
std::vector<float> last_values(const std::vector<float>& values, size_t count) {
  if (values.size() < count) return {};
  return {values.end() - static_cast<std::ptrdiff_t>(count), values.end()};
}

TEST_P(RealModels, EveryStageIsTheGolden) {
  const RealModel& c = GetParam();
  if (!std::filesystem::exists(c.file)) {
    GTEST_SKIP() << c.file << " is not there; scripts/test fetches it where it can";
  }
  auto golden = read_golden(kData / "golden" / c.golden);
  ASSERT_TRUE(golden) << golden.error().message;
  auto device = open_device({.name = c.device});
  ASSERT_TRUE(device) << device.error().message;
  auto model = ModelHarness::open(c.file, {.devices = {device->get()}});
  ASSERT_TRUE(model) << model.error().message;

  EXPECT_TRUE((*model)->config().warnings.empty()) << (*model)->config().warnings.front();

  RecordingTap tap;
  auto logits = (*model)->feed(golden->tokens, 512, &tap);
  ASSERT_TRUE(logits) << logits.error().message;
  for (const Golden::Stage& stage : golden->stages) {
    const auto found = tap.records().find(stage.name);
    ASSERT_NE(found, tap.records().end()) << stage.name;
    const auto values = last_values(found->second.values, stage.rows.values.size());
    const double difference = largest_difference(values, stage.rows.values);
    RecordProperty(stage.name, fmt::format("{:.2e}", difference));
    if (c.device == "reference") {
      ASSERT_LE(difference, kReferenceBound) << "the first stage that differs: " << stage.name;
    } else if (stage.name == "logits") {
      const double divergence = mean_divergence(values, stage.rows.values, stage.rows.columns);
      RecordProperty("divergence", fmt::format("{:.2e}", divergence));
      ASSERT_LE(divergence, kDivergenceBound);
    }
  }
}

std::vector<RealModel> models() {
  std::vector<RealModel> all;
  for (const char* device : {"reference", "cpu"}) {
    all.push_back({"stories260K", kData / "models/stories260K.gguf", device});
    all.push_back({"smollm2-135m", fetched("smollm2-135m-instruct.gguf"), device});
    all.push_back({"qwen2.5-coder-0.5b", fetched("qwen2.5-coder-0.5b.gguf"), device});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Golden, RealModels, testing::ValuesIn(models()), name_of);

}  // namespace
}  // namespace hadal
