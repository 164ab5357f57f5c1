// The keys and values of the past, in blocks of kBlockTokens tokens (paged: arXiv 2309.06180).
// Which block belongs to which sequence is the engine's bookkeeping (engine/block_allocator); here
// is only the memory, layer by layer, each on the device of its layer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "device/ops.h"

namespace hadal {

inline constexpr uint32_t kBlockTokens = 32;

// What a token costs a layer.
struct KvLayout {
  uint32_t layers = 0;
  uint32_t key_columns = 0;    // kv_heads * width; of latent attention: latent + shared key part
  uint32_t value_columns = 0;  // kv_heads * width; of latent attention: none
  uint32_t kv_heads = 1;
  QuantType type = QuantType::kF16;  // what the values are kept as unless someone asks for another
  uint64_t bytes_per_token(QuantType kept) const {
    return uint64_t{layers} * (row_bytes(kept, cache_columns(kept, key_columns)) +
                               row_bytes(kept, cache_columns(kept, value_columns)));
  }
};

// The types that a person may ask for, as they are written.
inline constexpr std::string_view kKvTypeNames = "f16, bf16, f32 or q8_0";
// Whether keys and values of this shape can be kept so. Errors name the type and what there is.
Status check_kv_type(const KvLayout& layout, QuantType type);

class KvCache {
 public:
  // layer_devices: [layers]. type: as check_kv_type has it. Memory is committed as blocks are first
  // used.
  static Result<KvCache> create(const KvLayout& layout, QuantType type, uint32_t blocks,
                                std::span<Device* const> layer_devices);

  const PagedKv& layer(uint32_t layer) const { return layers_[layer]; }
  uint32_t blocks() const { return blocks_; }

 private:
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<PagedKv> layers_;
  uint32_t blocks_ = 0;
};

}  // namespace hadal
