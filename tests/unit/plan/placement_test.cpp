#include "plan/placement.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hadal {
namespace {

// Four layers of one tensor of 1 MB each, an embedding and a head of 2 MB, keys and values of 1000
// values each: 8000 bytes a token a layer in f32, 4000 in f16.
struct TinyConfig : ModelConfig {
  TinyConfig() {
    layers = 4;
    context_max = 100000;
  }
  KvLayout kv_layout() const override {
    return {.layers = cached_layers(), .key_columns = 1000, .value_columns = 1000};
  }
};

constexpr uint64_t kMegabyte = 1000000;
constexpr uint64_t kLayerBytes = kMegabyte, kEndBytes = 2 * kMegabyte;
constexpr uint64_t kScratchBytes = kMegabyte / 2;
constexpr uint64_t kTokenBytes = 4 * 4000;  // of all layers, f16

struct Model {
  TinyConfig config;
  Manifest manifest;
  TensorIndex tensors;

  explicit Model(bool tied = false) {
    const auto add = [&](std::string name, Role role, int16_t layer, uint32_t rows) {
      manifest.push_back(
          {.name = name, .role = role, .layer = layer, .rows = rows, .columns = 250});
      tensors.insert({.name = name, .rows = rows, .columns = 250});
    };
    add("embedding", Role::kEmbedding, kNoLayer, kEndBytes / 1000);
    for (int16_t layer = 0; layer < 4; ++layer) {
      add("layer" + std::to_string(layer), Role::kGate, layer, kLayerBytes / 1000);
    }
    add(tied ? "embedding" : "head", Role::kHead, kNoLayer, kEndBytes / 1000);
    manifest.push_back(
        {.name = "optional", .role = Role::kFinalNorm, .columns = 250, .required = false});
  }

  Result<Placement> place(std::vector<DeviceInfo> devices, const PlacementOptions& options) const {
    return hadal::place(config, kScratchBytes, manifest, tensors, devices, options);
  }
};

DeviceInfo card(std::string name, uint64_t memory_bytes) {
  return {.name = std::move(name), .memory_bytes = memory_bytes};
}
DeviceInfo host(std::string name, uint64_t memory_bytes) {
  return {.name = std::move(name), .memory_bytes = memory_bytes, .host_memory = true};
}

std::string refusal(const Result<Placement>& placement) {
  return placement ? "" : placement.error().message;
}

TEST(Placement, PutsAllOnOneDevice) {
  const auto p = Model().place({host("cpu", 1000 * kMegabyte)}, {.context_tokens = 1000});
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->places.size(), 6u);  // the optional tensor is not in the file
  EXPECT_EQ(p->context_tokens, 1000u);
  EXPECT_EQ(p->kv_blocks, 32u);
  EXPECT_EQ(p->shares[0].weight_bytes, 4 * kLayerBytes + 2 * kEndBytes);
  EXPECT_EQ(p->shares[0].kv_bytes, 1024 * kTokenBytes);
  EXPECT_EQ(p->shares[0].scratch_bytes, kScratchBytes);
}

TEST(Placement, CountsATiedHeadOnceADevice) {
  const Model tied(true);
  const auto one = tied.place({card("a", 1000 * kMegabyte)}, {.context_tokens = 32});
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->shares[0].weight_bytes, 4 * kLayerBytes + kEndBytes);
  const auto two = tied.place({card("a", 1000 * kMegabyte), card("b", 1000 * kMegabyte)},
                              {.context_tokens = 32, .layer_splits = {2, 4}});
  ASSERT_TRUE(two) << two.error().message;
  EXPECT_EQ(two->shares[0].weight_bytes, 2 * kLayerBytes + kEndBytes);
  EXPECT_EQ(two->shares[1].weight_bytes, 2 * kLayerBytes + kEndBytes);
}

TEST(Placement, SplitsLayersEmbeddingFirstHeadLast) {
  const auto p = Model().place(
      {card("a", 1000 * kMegabyte), card("b", 1000 * kMegabyte), card("c", 1000 * kMegabyte)},
      {.context_tokens = 32, .layer_splits = {1, 1, 4}});
  ASSERT_TRUE(p) << p.error().message;
  std::vector<int> devices;
  for (const Place& place : p->places) devices.push_back(place.device);
  EXPECT_EQ(devices, (std::vector<int>{0, 0, 2, 2, 2, 2}));
  EXPECT_EQ(p->shares[0].kv_bytes, 32u * 4000);
  EXPECT_EQ(p->shares[1].total(), 0u);
  EXPECT_EQ(p->shares[2].kv_bytes, 3 * 32u * 4000);
  EXPECT_EQ(p->shares[2].scratch_bytes, kScratchBytes);
}

TEST(Placement, RefusesSplitsThatAreNone) {
  const std::vector<DeviceInfo> two = {card("a", 1000 * kMegabyte), card("b", 1000 * kMegabyte)};
  EXPECT_EQ(refusal(Model().place(two, {.layer_splits = {4}})),
            "the layers are split into 1 parts, but there are 2 devices");
  EXPECT_EQ(refusal(Model().place(two, {.layer_splits = {2, 3}})),
            "the layers are split up to layer 3, but the model has 4");
  EXPECT_EQ(refusal(Model().place(two, {.layer_splits = {5, 4}})),
            "the layers are split at 5 after 0; each split must be at least the one before and at "
            "most 4");
  const std::vector<DeviceInfo> three = {two[0], two[1], card("c", 1000 * kMegabyte)};
  EXPECT_NE(refusal(Model().place(three, {.layer_splits = {3, 2, 4}})), "");
}

TEST(Placement, TheDefaultContextTakesAQuarterOfFreeMemory) {
  const uint64_t memory = 800 * kMegabyte;  // a quarter is 12500 tokens
  const auto p = Model().place({host("cpu", memory)}, {});
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->context_tokens, memory / 4 / kTokenBytes / kBlockTokens * kBlockTokens);
}

TEST(Placement, TheDefaultContextIsRaisedWhereThatFits) {
  const auto p = Model().place({host("cpu", 100 * kMegabyte)}, {});  // a quarter: 1562 tokens
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->context_tokens, 4096u);
  const auto less = Model().place({host("cpu", 40 * kMegabyte)}, {});  // 31.5 MB are left
  ASSERT_TRUE(less) << less.error().message;
  EXPECT_EQ(less->context_tokens, 31500000 / kTokenBytes / kBlockTokens * kBlockTokens);
}

TEST(Placement, TheDefaultContextIsNeverMoreThanTheModels) {
  Model model;
  model.config.context_max = 1000;
  const auto p = model.place({host("cpu", 10000 * kMegabyte)}, {});
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->context_tokens, 1000u);
  EXPECT_EQ(p->kv_blocks, 32u);
}

TEST(Placement, TheDefaultContextIsForEverySequence) {
  const auto p = Model().place({host("cpu", 800 * kMegabyte)}, {.sequences_max = 2});
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->context_tokens, 6240u);
  EXPECT_EQ(p->kv_blocks, 2 * 6240 / kBlockTokens);
}

TEST(Placement, RefusesWithTheFiguresAndWhatWouldFit) {
  EXPECT_EQ(refusal(Model().place({host("cpu", 40 * kMegabyte)}, {.context_tokens = 3000})),
            "the model does not fit with a context of 3000 tokens: on cpu 56.6 MB needed (weights "
            "8.00 MB, keys and values 48.1 MB, scratch 500 kB), 40.0 MB free. --context 1952 would "
            "fit");
  EXPECT_EQ(refusal(Model().place({host("cpu", 5 * kMegabyte)}, {})),
            "the model does not fit with a context of 4096 tokens: on cpu 74.0 MB needed (weights "
            "8.00 MB, keys and values 65.5 MB, scratch 500 kB), 5.00 MB free. A smaller model, or "
            "this one in a smaller format, may fit");
}

TEST(Placement, RefusesAContextBeyondTheModels) {
  EXPECT_EQ(refusal(Model().place({host("cpu", 40 * kMegabyte)}, {.context_tokens = 100001})),
            "a context of 100001 tokens was asked for, but the model is made for 100000");
}

TEST(Placement, DevicesInHostMemoryShareIt) {
  const PlacementOptions options = {.context_tokens = 32, .layer_splits = {2, 4}};
  const uint64_t memory = 6 * kMegabyte;  // each half needs 4.8 MB
  EXPECT_TRUE(Model().place({card("a", memory), card("b", memory)}, options));
  EXPECT_TRUE(Model().place({card("a", memory), host("b", memory)}, options));
  EXPECT_EQ(
      refusal(Model().place({host("a", memory), host("b", memory)}, options)),
      "the model does not fit with a context of 32 tokens: on a and b 9.51 MB needed (weights "
      "8.00 MB, keys and values 512 kB, scratch 1.00 MB), 6.00 MB free. A smaller model, or "
      "this one in a smaller format, may fit");
}

TEST(Placement, ChecksTheTensorsFirst) {
  Model model;
  model.manifest[1].rows += 1;
  EXPECT_TRUE(
      refusal(model.place({host("cpu", 1)}, {})).starts_with("tensor layer0 has 1000 x 250"));
}

// Whatever the figures, a placement never exceeds memory, and nothing wraps.
TEST(Placement, NeverExceedsMemory) {
  Model model;
  model.config.context_max = 1u << 30;
  for (const uint64_t memory :
       {uint64_t{0}, uint64_t{1}, 9 * kMegabyte, 77 * kMegabyte, 1000 * kMegabyte, UINT64_MAX}) {
    for (const uint32_t context : {0u, 1u, 31u, 33u, 5000u, 1u << 30}) {
      for (const uint32_t sequences : {1u, 3u, UINT32_MAX}) {
        const auto p = model.place({host("cpu", memory)},
                                   {.context_tokens = context, .sequences_max = sequences});
        if (!p) continue;
        EXPECT_LE(p->shares[0].total(), memory);
        EXPECT_GE(uint64_t{p->kv_blocks} * kBlockTokens, uint64_t{p->context_tokens} * sequences);
        EXPECT_GT(p->context_tokens, 0u);
      }
    }
  }
}

TEST(Placement, APredictionLayerIsWithTheLastLayerAndTakesItsShare) {
  Model model;
  const PlacementOptions options = {
      .context_tokens = 32, .kv_types = QuantType::kF16, .layer_splits = {1, 4}};
  const std::vector<DeviceInfo> devices = {card("a", 100 * kMegabyte), card("b", 100 * kMegabyte)};
  const auto without = model.place(devices, options);
  ASSERT_TRUE(without) << without.error().message;
  model.manifest.push_back(
      {.name = "further", .role = Role::kGate, .layer = 4, .rows = 1000, .columns = 250});
  model.tensors.insert({.name = "further", .rows = 1000, .columns = 250});
  model.config.prediction_layers = 1;
  model.config.predicts = true;
  const auto with = model.place(devices, options);
  ASSERT_TRUE(with) << with.error().message;
  EXPECT_EQ(with->shares[0].total(), without->shares[0].total());
  EXPECT_EQ(with->shares[1].weight_bytes, without->shares[1].weight_bytes + kLayerBytes);
  EXPECT_EQ(with->shares[1].kv_bytes, without->shares[1].kv_bytes + 32u * 4000);
}

}  // namespace
}  // namespace hadal
