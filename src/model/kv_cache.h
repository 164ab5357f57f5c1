// The keys and values of the past, in blocks of kBlockTokens tokens (paged: arXiv 2309.06180).
// Which block belongs to which sequence is the engine's bookkeeping (engine/block_allocator); here
// is only the memory, layer by layer, each on the device of its layer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "device/ops.h"

namespace hadal {

inline constexpr uint32_t kBlockTokens = 32;

// What keys and values are kept as, each for itself; a latent has keys alone.
struct KvTypes {
  QuantType keys, values;
  constexpr KvTypes(QuantType both) : keys(both), values(both) {}
  constexpr KvTypes(QuantType keys_type, QuantType values_type)
      : keys(keys_type), values(values_type) {}
};

// What a token costs a layer.
struct KvLayout {
  uint32_t layers = 0;
  uint32_t key_columns = 0;    // kv_heads * width; of latent attention: latent + shared key part
  uint32_t value_columns = 0;  // kv_heads * width; of latent attention: none
  uint32_t kv_heads = 1;
  QuantType type = QuantType::kF16;  // what the values are kept as unless someone asks for another
  bool latent() const { return value_columns == 0; }
  uint64_t bytes_per_token(KvTypes kept) const {
    return uint64_t{layers} * (row_bytes(kept.keys, cache_columns(kept.keys, key_columns)) +
                               row_bytes(kept.values, cache_columns(kept.values, value_columns)));
  }
};

// The types that a person may ask for, as they are written.
inline constexpr std::string_view kKvTypeNames = "f16, bf16, f32, q8_0 or q4_0";
// What a person's wishes, where there are any, make of the layout's own type. Errors name the type
// and what there is: no type of a cache, heads that are no whole blocks, two types for a latent.
Result<KvTypes> choose_kv_types(const KvLayout& layout, std::optional<QuantType> keys,
                                std::optional<QuantType> values);

class KvCache {
 public:
  // layer_devices: [layers]. types: of choose_kv_types. Memory is committed as blocks are first
  // used.
  static Result<KvCache> create(const KvLayout& layout, KvTypes types, uint32_t blocks,
                                std::span<Device* const> layer_devices);

  const PagedKv& layer(uint32_t layer) const { return layers_[layer]; }
  uint32_t blocks() const { return blocks_; }

 private:
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<PagedKv> layers_;
  uint32_t blocks_ = 0;
};

}  // namespace hadal
