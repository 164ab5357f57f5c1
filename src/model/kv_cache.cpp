#include "model/kv_cache.h"

#include "base/check.h"
#include "base/sizes.h"

namespace hadal {

Result<KvCache> KvCache::create(const KvLayout& layout, QuantType type, uint32_t blocks,
                                std::span<Device* const> layer_devices) {
  CHECK(layer_devices.size() == layout.layers);
  if (!is_kv_type(type)) {
    return fail("a KV cache of {} is not possible, only f16, bf16 and f32",
                quant_format(type).name);
  }
  const uint64_t rows = uint64_t{blocks} * kBlockTokens;
  if (blocks == 0 || rows > UINT32_MAX) {
    return fail("a KV cache of {} blocks of {} tokens is not possible: from 1 to {} blocks", blocks,
                kBlockTokens, UINT32_MAX / kBlockTokens);
  }
  // A block's rows make each part a multiple of 64 bytes, as Buffer::tensor wants its offsets.
  static_assert(kBlockTokens * sizeof(uint16_t) % 64 == 0);
  const auto key_bytes = checked_multiply(rows, row_bytes(type, layout.key_columns));
  const auto value_bytes = checked_multiply(rows, row_bytes(type, layout.value_columns));
  const auto bytes =
      key_bytes && value_bytes ? checked_add(*key_bytes, *value_bytes) : std::nullopt;
  if (!bytes) return fail("a KV cache of {} blocks is larger than any memory", blocks);

  KvCache cache;
  cache.blocks_ = blocks;
  for (uint32_t layer = 0; layer < layout.layers; ++layer) {
    auto buffer = layer_devices[layer]->allocate(*bytes);
    if (!buffer) {
      return fail("the KV cache of layer {} ({}): {}", layer, format_bytes(*bytes),
                  buffer.error().message);
    }
    const auto row_count = static_cast<uint32_t>(rows);
    PagedKv& kv = cache.layers_.emplace_back();
    kv.keys = (*buffer)->tensor(type, row_count, layout.key_columns);
    if (layout.value_columns != 0) {
      kv.values = (*buffer)->tensor(type, row_count, layout.value_columns, *key_bytes);
    }
    kv.block_tokens = kBlockTokens;
    cache.buffers_.push_back(std::move(*buffer));
  }
  return cache;
}

}  // namespace hadal
