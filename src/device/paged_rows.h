// Where a sequence's positions lie in a paged cache: what devices of this process's own memory
// share.
#pragma once

#include "device/device.h"
#include "device/ops.h"

namespace hadal {

inline void check_layout(const SequenceLayout& layout, uint32_t tokens) {
  const auto& starts = layout.sequence_starts;
  CHECK(starts.size() >= 1 && starts.front() == 0 && starts.back() == tokens);
  CHECK(layout.positions.size() == tokens);
  CHECK(layout.block_tables.size() >= size_t{layout.sequences()} * layout.blocks_per_sequence_max);
  for (uint32_t s = 0; s < layout.sequences(); ++s) CHECK(starts[s] <= starts[s + 1]);
}

// One part of a cache, which holds `heads` heads of `width` values a row.
inline void check_cache(const Tensor& cache, const Device& device, uint32_t heads, uint32_t width) {
  CHECK(cache && cache.device == &device && cache.row_stride >= cache.columns);
  CHECK(is_cache_type(cache.type) && heads > 0);
  CHECK(cache.columns == cache_columns(cache.type, heads * width));
  CHECK(heads == 1 || cache_columns(cache.type, width) == width);
}

// The row of the cache that holds a position of a sequence.
inline size_t cache_row(const PagedKv& cache, const SequenceLayout& layout, uint32_t sequence,
                        uint32_t position) {
  const uint32_t block = position / cache.block_tokens;
  CHECK(block < layout.blocks_per_sequence_max);
  const size_t row =
      size_t{layout.block_tables[size_t{sequence} * layout.blocks_per_sequence_max + block]} *
          cache.block_tokens +
      position % cache.block_tokens;
  CHECK(row < cache.keys.rows && (!cache.values || row < cache.values.rows));
  return row;
}

}  // namespace hadal
