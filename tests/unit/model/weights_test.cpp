#include "model/weights.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "device/registry.h"
#include "model/model.h"

namespace hadal {
namespace {

const Manifest kManifest = {
    {.name = "embedding", .role = Role::kEmbedding, .rows = 300, .columns = 200},
    {.name = "norm",
     .role = Role::kFinalNorm,
     .columns = 200,
     .use = WeightUse::kVector,
     .required = false},
    {.name = "embedding", .role = Role::kHead, .rows = 300, .columns = 200}};

TensorInfo tensor(std::string name, uint32_t rows, uint32_t columns,
                  QuantType type = QuantType::kF32) {
  return {.name = std::move(name), .type = type, .rows = rows, .columns = columns};
}

std::string complaint(const std::vector<TensorInfo>& infos) {
  TensorIndex tensors;
  for (const TensorInfo& info : infos) tensors.insert(info);
  const Status status = check_tensors(kManifest, tensors);
  return status ? "" : status.error().message;
}

TEST(CheckTensors, TakesWhatTheManifestLists) {
  EXPECT_EQ(complaint({tensor("embedding", 300, 200), tensor("norm", 1, 200)}), "");
  EXPECT_EQ(complaint({tensor("embedding", 300, 200)}), "");  // the norm is not required
}

TEST(CheckTensors, NamesWhatIsMissing) {
  EXPECT_EQ(complaint({tensor("norm", 1, 200)}), "the tensor embedding is missing");
}

TEST(CheckTensors, SaysBothShapes) {
  EXPECT_EQ(complaint({tensor("embedding", 200, 300)}),
            "tensor embedding has 200 x 300 values (rows x columns), but by the model's "
            "configuration it has 300 x 200");
  TensorInfo stacked = tensor("embedding", 300, 200);
  stacked.experts = 2;
  EXPECT_EQ(complaint({stacked}),
            "tensor embedding has 2 x 300 x 200 values (rows x columns), but by the model's "
            "configuration it has 300 x 200");
}

TEST(CheckTensors, AStackInPiecesIsOneTensorAnExpert) {
  const Manifest manifest = {{.name = "experts.*.up",
                              .role = Role::kExpertUp,
                              .layer = 0,
                              .experts = 3,
                              .rows = 4,
                              .columns = 5,
                              .pieces = 3}};
  TensorIndex tensors;
  const auto complaint_now = [&] {
    const Status status = check_tensors(manifest, tensors);
    return status ? "" : status.error().message;
  };
  tensors.insert(tensor("experts.0.up", 4, 5));
  tensors.insert(tensor("experts.1.up", 4, 5));
  EXPECT_EQ(complaint_now(), "the tensor experts.2.up is missing");
  EXPECT_TRUE(find_pieces(manifest[0], tensors).empty());
  tensors.insert(tensor("experts.2.up", 4, 5));
  EXPECT_EQ(complaint_now(), "");
  EXPECT_EQ(find_pieces(manifest[0], tensors).size(), 3u);
  EXPECT_EQ(find_pieces(manifest[0], tensors)[2]->name, "experts.2.up");
  tensors.insert(tensor("experts.3.up", 4, 5));
  EXPECT_EQ(complaint_now(),
            "the tensor 'experts.3.up' is none that hadal knows in this architecture; the model "
            "would be computed wrongly without it");
}

TEST(CheckTensors, APieceOfAnotherShapeIsNamed) {
  const Manifest manifest = {{.name = "*.up",
                              .role = Role::kExpertUp,
                              .experts = 2,
                              .rows = 4,
                              .columns = 5,
                              .pieces = 2}};
  TensorIndex tensors;
  tensors.insert(tensor("0.up", 4, 5));
  tensors.insert(tensor("1.up", 4, 6));
  const Status status = check_tensors(manifest, tensors);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "tensor 1.up has 4 x 6 values (rows x columns), but by the model's configuration it "
            "has 4 x 5");
}

TEST(CheckTensors, TakesWhatIsListedAsSkippedInAnyShape) {
  const Manifest manifest = {{.name = "extra", .role = Role::kSkipped, .required = false}};
  TensorIndex tensors;
  tensors.insert(tensor("extra", 7, 9));
  EXPECT_TRUE(check_tensors(manifest, tensors));
}

TEST(CheckTensors, RefusesATensorThatWouldNotBeRead) {
  EXPECT_EQ(complaint({tensor("embedding", 300, 200), tensor("embedding.bias", 1, 300)}),
            "the tensor 'embedding.bias' is none that hadal knows in this architecture; the model "
            "would be computed wrongly without it");
}

TEST(CheckTensors, LeavesWhatNobodyNeeds) {
  EXPECT_EQ(complaint({tensor("embedding", 300, 200), tensor("lm_head.weight", 300, 200),
                       tensor("model.layers.0.self_attn.rotary_emb.inv_freq", 1, 64)}),
            "");
}

TEST(CheckTensors, HoldsFp8ToItsScales) {
  const TensorInfo weight = tensor("embedding", 300, 200, QuantType::kF8_E4M3);
  EXPECT_EQ(complaint({weight, tensor("embedding_scale_inv", 3, 2)}), "");
  EXPECT_EQ(complaint({weight, tensor("embedding_scale_inv", 3, 2, QuantType::kBF16)}), "");
  EXPECT_EQ(complaint({weight}),
            "tensor embedding is FP8, and its scales, embedding_scale_inv, are missing");
  EXPECT_EQ(complaint({weight, tensor("embedding_scale_inv", 2, 2)}),
            "tensor embedding_scale_inv has 1 x 2 x 2 values, expected 3 x 2: one for each 128 x "
            "128 of embedding");
  EXPECT_EQ(complaint({weight, tensor("embedding_scale_inv", 3, 2, QuantType::kF8_E4M3)}),
            "tensor embedding_scale_inv is f8_e4m3; scales are f32, bf16 or f16");
  EXPECT_NE(complaint({tensor("embedding", 300, 200), tensor("embedding_scale_inv", 3, 2)}), "");
}

struct Loaded {
  std::unique_ptr<Device> device, other;
  std::unique_ptr<ModelFile> file;
  Manifest manifest;
};

Loaded open_golden(const std::string& name) {
  Loaded loaded;
  loaded.device = std::move(*open_device({.name = "reference", .threads = 1}));
  loaded.other = std::move(*open_device({.name = "reference", .threads = 1}));
  auto file = ModelFile::open(std::filesystem::path(HADAL_TEST_DATA) / "golden" / name);
  EXPECT_TRUE(file) << file.error().message;
  loaded.file = std::move(*file);
  const Architecture& architecture = **find_architecture(*loaded.file->architecture());
  const auto config = *architecture.read_config(loaded.file->metadata(), loaded.file->tensors());
  loaded.manifest = architecture.manifest(*config, loaded.file->tensors(), loaded.file->dialect());
  return loaded;
}

TEST(Weights, AreFoundByRoleAndCountedAsTheyLoad) {
  const Loaded l = open_golden("qwen3-fp8/hf");
  std::vector<LoadProgress> reports;
  auto weights =
      Weights::load(l.manifest, *l.file, std::vector<Device*>(l.manifest.size(), l.device.get()),
                    [&](const LoadProgress& progress) {
                      reports.push_back(progress);
                      return true;
                    });
  ASSERT_TRUE(weights) << weights.error().message;
  const Weight& query = weights->get(Role::kQuery, 1);
  EXPECT_EQ(query.rows, 144u);
  EXPECT_EQ(query.columns, 132u);
  EXPECT_EQ(query.type, QuantType::kF8_E4M3);
  EXPECT_FALSE(weights->get(Role::kQueryBias, 1));
  EXPECT_FALSE(weights->get(Role::kQuery, 2));
  EXPECT_EQ(weights->layer_devices().size(), 2u);
  ASSERT_EQ(reports.size(), l.manifest.size());
  EXPECT_EQ(reports.back().bytes_done, reports.back().bytes_total);
  EXPECT_LT(reports.front().bytes_done, reports.front().bytes_total);
}

TEST(Weights, ALoadThatIsNoLongerWantedEnds) {
  const Loaded l = open_golden("qwen3-fp8/hf");
  size_t reports = 0;
  const auto weights =
      Weights::load(l.manifest, *l.file, std::vector<Device*>(l.manifest.size(), l.device.get()),
                    [&](const LoadProgress&) { return ++reports < 2; });
  ASSERT_FALSE(weights);
  EXPECT_NE(weights.error().message.find("no longer wanted"), std::string::npos);
  EXPECT_EQ(reports, 2u);
}

TEST(Weights, ATiedHeadIsUploadedOnceADevice) {
  const Loaded l = open_golden("llama3-scaling-tied/hf");
  std::vector<Device*> devices(l.manifest.size(), l.device.get());
  auto together = Weights::load(l.manifest, *l.file, devices);
  ASSERT_TRUE(together) << together.error().message;
  EXPECT_EQ(together->get(Role::kHead).data, together->get(Role::kEmbedding).data);
  devices.back() = l.other.get();
  auto apart = Weights::load(l.manifest, *l.file, devices);
  ASSERT_TRUE(apart) << apart.error().message;
  EXPECT_EQ(apart->get(Role::kHead).device, l.other.get());
  EXPECT_EQ(apart->get(Role::kEmbedding).device, l.device.get());
}

TEST(Weights, ErrorsNameTheFile) {
  const Loaded l = open_golden("llama/model.gguf");
  Manifest wrong = l.manifest;
  wrong.front().rows += 1;
  const auto weights =
      Weights::load(wrong, *l.file, std::vector<Device*>(wrong.size(), l.device.get()));
  ASSERT_FALSE(weights);
  EXPECT_TRUE(weights.error().message.ends_with(
      "llama/model.gguf: tensor token_embd.weight has 103 x 55 values (rows x columns), but by the "
      "model's configuration it has 104 x 55"))
      << weights.error().message;
}

}  // namespace
}  // namespace hadal
