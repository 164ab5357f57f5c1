#include "model/kv_cache.h"

#include "base/check.h"
#include "base/sizes.h"

namespace hadal {

Status check_kv_type(const KvLayout& layout, QuantType type) {
  if (!is_cache_type(type)) {
    return fail("keys and values cannot be kept as {}, only as {}", quant_format(type).name,
                kKvTypeNames);
  }
  const uint32_t block = quant_format(type).block_values;
  for (const uint32_t columns : {layout.key_columns, layout.value_columns}) {
    const uint32_t width = columns / layout.kv_heads;
    if (layout.kv_heads > 1 && width % block != 0) {
      return fail(
          "keys and values cannot be kept as {}: its blocks have {} values, this model's "
          "heads {}; f16, bf16 and f32 keep any",
          quant_format(type).name, block, width);
    }
  }
  return {};
}

Result<KvCache> KvCache::create(const KvLayout& layout, QuantType type, uint32_t blocks,
                                std::span<Device* const> layer_devices) {
  CHECK(layer_devices.size() == layout.layers);
  HADAL_TRY_VOID(check_kv_type(layout, type));
  const uint64_t rows = uint64_t{blocks} * kBlockTokens;
  if (blocks == 0 || rows > UINT32_MAX) {
    return fail("a KV cache of {} blocks of {} tokens is not possible: from 1 to {} blocks", blocks,
                kBlockTokens, UINT32_MAX / kBlockTokens);
  }
  // A block's rows make each part a multiple of 64 bytes, as Buffer::tensor wants its offsets:
  // rows are whole numbers of 2 bytes.
  static_assert(kBlockTokens * 2 % 64 == 0);
  const uint32_t key_columns = cache_columns(type, layout.key_columns);
  const uint32_t value_columns = cache_columns(type, layout.value_columns);
  const auto key_bytes = checked_multiply(rows, row_bytes(type, key_columns));
  const auto value_bytes = checked_multiply(rows, row_bytes(type, value_columns));
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
    kv.keys = (*buffer)->tensor(type, row_count, key_columns);
    if (value_columns != 0) {
      kv.values = (*buffer)->tensor(type, row_count, value_columns, *key_bytes);
    }
    kv.block_tokens = kBlockTokens;
    cache.buffers_.push_back(std::move(*buffer));
  }
  return cache;
}

}  // namespace hadal
