#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "device/registry.h"

namespace hadal {
namespace {

std::unique_ptr<Device> device() {
  return std::move(*open_device({.name = "reference", .threads = 1}));
}

TEST(KvCache, HasEveryLayerOnItsDevice) {
  const auto first = device(), second = device();
  const std::vector<Device*> devices = {first.get(), second.get()};
  const auto cache = KvCache::create({.layers = 2, .key_columns = 5, .value_columns = 3},
                                     QuantType::kF16, 7, devices);
  ASSERT_TRUE(cache) << cache.error().message;
  EXPECT_EQ(cache->blocks(), 7u);
  for (uint32_t layer = 0; layer < 2; ++layer) {
    const PagedKv& kv = cache->layer(layer);
    EXPECT_EQ(kv.keys.device, devices[layer]);
    EXPECT_EQ(kv.keys.rows, 7 * kBlockTokens);
    EXPECT_EQ(kv.keys.columns, 5u);
    EXPECT_EQ(kv.values.columns, 3u);
    EXPECT_EQ(kv.values.type, QuantType::kF16);
    EXPECT_EQ(kv.block_tokens, kBlockTokens);
    const auto* keys = static_cast<const std::byte*>(kv.keys.data);
    EXPECT_EQ(static_cast<const std::byte*>(kv.values.data), keys + 7 * kBlockTokens * 5 * 2);
  }
}

TEST(KvCache, KeepsLatentsInWholeBlocks) {
  const auto d = device();
  const std::vector<Device*> devices = {d.get()};
  const KvLayout layout = {.layers = 1, .key_columns = 40};
  EXPECT_EQ(layout.bytes_per_token(QuantType::kQ8_0), 2u * 34);
  const auto cache = KvCache::create(layout, QuantType::kQ8_0, 3, devices);
  ASSERT_TRUE(cache) << cache.error().message;
  EXPECT_EQ(cache->layer(0).keys.columns, 64u);
  EXPECT_FALSE(cache->layer(0).values);
}

TEST(KvCache, KeysAndValuesHaveTypesOfTheirOwn) {
  const auto d = device();
  const std::vector<Device*> devices = {d.get()};
  const KvLayout layout = {.layers = 1, .key_columns = 64, .value_columns = 64, .kv_heads = 2};
  const auto types = choose_kv_types(layout, QuantType::kQ8_0, QuantType::kQ4_0);
  ASSERT_TRUE(types) << types.error().message;
  EXPECT_EQ(layout.bytes_per_token(*types), 2u * 34 + 2 * 18);
  const auto cache = KvCache::create(layout, *types, 3, devices);
  ASSERT_TRUE(cache) << cache.error().message;
  EXPECT_EQ(cache->layer(0).keys.type, QuantType::kQ8_0);
  EXPECT_EQ(cache->layer(0).values.type, QuantType::kQ4_0);

  const auto own = choose_kv_types(layout, {}, {});
  ASSERT_TRUE(own);
  EXPECT_EQ(own->keys, QuantType::kF16);
  EXPECT_EQ(own->values, QuantType::kF16);
}

TEST(KvCache, RefusesTypesThatDoNotFit) {
  const auto error_of = [](const KvLayout& layout, std::optional<QuantType> keys,
                           std::optional<QuantType> values) {
    const auto types = choose_kv_types(layout, keys, values);
    return types ? std::string("chosen") : types.error().message;
  };
  KvLayout layout = {.layers = 1, .key_columns = 128, .value_columns = 128, .kv_heads = 8};
  EXPECT_EQ(error_of(layout, QuantType::kQ4_1, {}),
            "keys cannot be kept as q4_1, only as f16, bf16, f32, q8_0 or q4_0");
  EXPECT_EQ(error_of(layout, {}, QuantType::kQ8_0),
            "values cannot be kept as q8_0: its blocks have 32 values, this model's heads 16; f16, "
            "bf16 and f32 keep any");
  layout.kv_heads = 2;
  EXPECT_EQ(error_of(layout, {}, QuantType::kQ8_0), "chosen");
  layout = {.layers = 1, .key_columns = 40};
  EXPECT_EQ(error_of(layout, QuantType::kQ8_0, {}), "chosen");
  EXPECT_EQ(error_of(layout, QuantType::kQ8_0, QuantType::kQ8_0), "chosen");
  EXPECT_EQ(error_of(layout, QuantType::kQ8_0, QuantType::kF16),
            "this model keeps one latent in place of keys and values: it takes the keys' type, "
            "q8_0, and none of its own for values (f16)");
}

TEST(KvCache, RefusesWhatCannotBe) {
  const auto d = device();
  const std::vector<Device*> devices = {d.get()};
  const KvLayout layout = {.layers = 1, .key_columns = 1u << 22, .value_columns = 1u << 22};
  const auto message = [&](QuantType type, uint32_t blocks) {
    const auto cache = KvCache::create(layout, type, blocks, devices);
    return cache ? std::string() : cache.error().message;
  };
  EXPECT_EQ(message(QuantType::kF16, 0),
            "a KV cache of 0 blocks of 32 tokens is not possible: from 1 to 134217727 blocks");
  EXPECT_EQ(message(QuantType::kF16, 1u << 27),
            "a KV cache of 134217728 blocks of 32 tokens is not possible: from 1 to 134217727 "
            "blocks");
  EXPECT_TRUE(message(QuantType::kF32, (1u << 27) - 1).starts_with("the KV cache of layer 0 ("));
}

}  // namespace
}  // namespace hadal
