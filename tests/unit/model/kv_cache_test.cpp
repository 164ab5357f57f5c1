#include "model/kv_cache.h"

#include <gtest/gtest.h>

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

TEST(KvCache, RefusesWhatCannotBe) {
  const auto d = device();
  const std::vector<Device*> devices = {d.get()};
  const KvLayout layout = {.layers = 1, .key_columns = 1u << 22, .value_columns = 1u << 22};
  const auto message = [&](QuantType type, uint32_t blocks) {
    const auto cache = KvCache::create(layout, type, blocks, devices);
    return cache ? std::string() : cache.error().message;
  };
  EXPECT_EQ(message(QuantType::kQ8_0, 1),
            "a KV cache of q8_0 is not possible, only f16, bf16 and f32");
  EXPECT_EQ(message(QuantType::kF16, 0),
            "a KV cache of 0 blocks of 32 tokens is not possible: from 1 to 134217727 blocks");
  EXPECT_EQ(message(QuantType::kF16, 1u << 27),
            "a KV cache of 134217728 blocks of 32 tokens is not possible: from 1 to 134217727 "
            "blocks");
  EXPECT_TRUE(message(QuantType::kF32, (1u << 27) - 1).starts_with("the KV cache of layer 0 ("));
}

}  // namespace
}  // namespace hadal
