#include "file/describe.h"

#include <gtest/gtest.h>

#include "support/gguf_builder.h"
#include "support/safetensors_builder.h"
#include "support/temp_folder.h"

namespace hadal {
namespace {

TEST(Describe, CountsTensorsParametersAndBytesPerType) {
  const TempFolder folder;
  GgufBuilder()
      .add_tensor("a", {64, 3}, QuantType::kQ4_0)
      .add_tensor("b", {64, 2, 2}, QuantType::kQ4_0)
      .add_tensor("c", {10}, QuantType::kF32)
      .write(folder.path() / "model.gguf");
  const auto model = ModelFile::open(folder.path() / "model.gguf");
  ASSERT_TRUE(model) << model.error().message;
  const ModelSummary summary = summarize(**model);
  ASSERT_EQ(summary.types.size(), 2u);
  EXPECT_EQ(summary.types[0].type, QuantType::kQ4_0);
  EXPECT_EQ(summary.types[0].tensors, 2u);
  EXPECT_EQ(summary.types[0].parameters, 448u);
  EXPECT_EQ(summary.types[0].bytes, 252u);
  EXPECT_EQ(summary.types[1].type, QuantType::kF32);
  EXPECT_EQ(summary.types[1].bytes, 40u);
  EXPECT_EQ(summary.tensors, 3u);
  EXPECT_EQ(summary.parameters, 458u);
  EXPECT_EQ(summary.tensor_bytes, 292u);
  EXPECT_DOUBLE_EQ(summary.bits_per_weight, 292 * 8.0 / 458);
}

TEST(Describe, BlockScalesAreNoParameters) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  folder.write("model.safetensors", SafetensorsBuilder()
                                        .add("w.weight_scale_inv", "F32", {1, 1})
                                        .add("w.weight", "F8_E4M3", {8, 8})
                                        .build());
  const auto model = ModelFile::open(folder.path());
  ASSERT_TRUE(model) << model.error().message;
  const ModelSummary summary = summarize(**model);
  EXPECT_EQ(summary.parameters, 64u);
  EXPECT_EQ(summary.tensor_bytes, 68u);
  EXPECT_EQ(summary.tensors, 2u);
}

TEST(Describe, AnEmptyModel) {
  const TempFolder folder;
  GgufBuilder().write(folder.path() / "model.gguf");
  const auto model = ModelFile::open(folder.path() / "model.gguf");
  ASSERT_TRUE(model);
  const ModelSummary summary = summarize(**model);
  EXPECT_TRUE(summary.types.empty());
  EXPECT_EQ(summary.bits_per_weight, 0);
}

}  // namespace
}  // namespace hadal
