#include "model/kv_cache.h"

#include "base/check.h"
#include "base/sizes.h"

namespace hadal {

namespace {

Status check_part(std::string_view part, QuantType type, uint32_t columns, uint32_t heads) {
  if (!is_cache_type(type)) {
    return fail("{} cannot be kept as {}, only as {}", part, quant_format(type).name, kKvTypeNames);
  }
  const uint32_t block = quant_format(type).block_values, width = columns / heads;
  if (heads > 1 && width % block != 0) {
    return fail(
        "{} cannot be kept as {}: its blocks have {} values, this model's heads {}; f16, bf16 and "
        "f32 keep any",
        part, quant_format(type).name, block, width);
  }
  return {};
}

}  // namespace

Result<KvTypes> choose_kv_types(const KvLayout& layout, std::optional<QuantType> keys,
                                std::optional<QuantType> values) {
  KvTypes types(keys.value_or(layout.type), values.value_or(layout.type));
  HADAL_TRY_VOID(check_part("keys", types.keys, layout.key_columns, layout.kv_heads));
  if (layout.latent()) {
    if (values && *values != types.keys) {
      return fail(
          "this model keeps one latent in place of keys and values: it takes the keys' type, {}, "
          "and none of its own for values ({})",
          quant_format(types.keys).name, quant_format(*values).name);
    }
    types.values = types.keys;
  }
  HADAL_TRY_VOID(check_part("values", types.values, layout.value_columns, layout.kv_heads));
  return types;
}

Result<KvCache> KvCache::create(const KvLayout& layout, KvTypes types, uint32_t blocks,
                                std::span<Device* const> layer_devices) {
  CHECK(layer_devices.size() == layout.layers);
  const uint64_t rows = uint64_t{blocks} * kBlockTokens;
  if (blocks == 0 || rows > UINT32_MAX) {
    return fail("a KV cache of {} blocks of {} tokens is not possible: from 1 to {} blocks", blocks,
                kBlockTokens, UINT32_MAX / kBlockTokens);
  }
  // A block's rows make each part a multiple of 64 bytes, as Buffer::tensor wants its offsets:
  // rows are whole numbers of 2 bytes.
  static_assert(kBlockTokens * 2 % 64 == 0);
  const uint32_t key_columns = cache_columns(types.keys, layout.key_columns);
  const uint32_t value_columns = cache_columns(types.values, layout.value_columns);
  const auto key_bytes = checked_multiply(rows, row_bytes(types.keys, key_columns));
  const auto value_bytes = checked_multiply(rows, row_bytes(types.values, value_columns));
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
    kv.keys = (*buffer)->tensor(types.keys, row_count, key_columns);
    if (value_columns != 0) {
      kv.values = (*buffer)->tensor(types.values, row_count, value_columns, *key_bytes);
    }
    kv.block_tokens = kBlockTokens;
    cache.buffers_.push_back(std::move(*buffer));
  }
  return cache;
}

}  // namespace hadal
