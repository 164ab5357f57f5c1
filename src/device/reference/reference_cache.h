// What the reference device's ops on a paged cache share.
#pragma once

#include <cstring>

#include "base/float_types.h"
#include "device/ops.h"

namespace hadal {

inline void check_layout(const SequenceLayout& layout, uint32_t tokens) {
  const auto& starts = layout.sequence_starts;
  CHECK(starts.size() >= 1 && starts.front() == 0 && starts.back() == tokens);
  CHECK(layout.positions.size() == tokens);
  CHECK(layout.block_tables.size() >= size_t{layout.sequences()} * layout.blocks_per_sequence_max);
  for (uint32_t s = 0; s < layout.sequences(); ++s) CHECK(starts[s] <= starts[s + 1]);
}

inline void check_cache(const Tensor& cache, const Device& device) {
  CHECK(cache && cache.device == &device && cache.row_stride >= cache.columns);
  CHECK(cache.type == QuantType::kF32 || cache.type == QuantType::kF16 ||
        cache.type == QuantType::kBF16);
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

inline void store_row(const Tensor& from, uint32_t token, const Tensor& cache, size_t row) {
  const float* values = static_cast<const float*>(from.data) + size_t{token} * from.row_stride;
  if (cache.type == QuantType::kF32) {
    std::memcpy(static_cast<float*>(cache.data) + row * cache.row_stride, values,
                size_t{from.columns} * sizeof(float));
    return;
  }
  uint16_t* halves = static_cast<uint16_t*>(cache.data) + row * cache.row_stride;
  for (uint32_t i = 0; i < from.columns; ++i) {
    halves[i] = cache.type == QuantType::kF16 ? float_to_f16(values[i]) : float_to_bf16(values[i]);
  }
}

// `width` values from column `first` of a row of the cache.
inline void load_row(const Tensor& cache, size_t row, size_t first, uint32_t width,
                     double* values) {
  const size_t at = row * cache.row_stride + first;
  if (cache.type == QuantType::kF32) {
    const float* floats = static_cast<const float*>(cache.data) + at;
    for (uint32_t i = 0; i < width; ++i) values[i] = floats[i];
    return;
  }
  const uint16_t* halves = static_cast<const uint16_t*>(cache.data) + at;
  for (uint32_t i = 0; i < width; ++i) {
    values[i] = cache.type == QuantType::kF16 ? f16_to_float(halves[i]) : bf16_to_float(halves[i]);
  }
}

// Four chains side by side, added at the end: one order, whatever the width.
template <typename A, typename B>
double dot(const A* a, const B* b, uint32_t width) {
  double sums[4] = {};
  const auto product = [&](uint32_t i) { return double{a[i]} * double{b[i]}; };
  uint32_t i = 0;
  for (; i + 4 <= width; i += 4) {
    for (uint32_t chain = 0; chain < 4; ++chain) sums[chain] += product(i + chain);
  }
  for (uint32_t chain = 0; i + chain < width; ++chain) sums[chain] += product(i + chain);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace hadal
