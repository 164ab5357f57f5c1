// What the reference device's ops on a paged cache share.
#pragma once

#include <algorithm>
#include <cstring>

#include "base/float_types.h"
#include "device/paged_rows.h"
#include "quant/encode.h"

namespace hadal {

inline void store_row(const Tensor& from, uint32_t token, const Tensor& cache, size_t row) {
  const float* values = static_cast<const float*>(from.data) + size_t{token} * from.row_stride;
  std::byte* to =
      static_cast<std::byte*>(cache.data) + row * row_bytes(cache.type, cache.row_stride);
  if (cache.type == QuantType::kF32) {
    std::memcpy(to, values, size_t{from.columns} * sizeof(float));
    return;
  }
  if (cache.type == QuantType::kQ8_0) return encode_q8_0(values, from.columns, to);
  if (cache.type == QuantType::kQ4_0) return encode_q4_0(values, from.columns, to);
  auto* halves = reinterpret_cast<uint16_t*>(to);
  for (uint32_t i = 0; i < from.columns; ++i) {
    halves[i] = cache.type == QuantType::kF16 ? float_to_f16(values[i]) : float_to_bf16(values[i]);
  }
}

// `width` values from column `first` (where a block begins) of a row of the cache.
inline void load_row(const Tensor& cache, size_t row, size_t first, uint32_t width,
                     double* values) {
  const std::byte* from = static_cast<const std::byte*>(cache.data) +
                          row * row_bytes(cache.type, cache.row_stride) +
                          row_bytes(cache.type, first);
  constexpr uint32_t kAtOnce = 32;  // a whole number of every type's blocks
  float floats[kAtOnce];
  for (uint32_t i = 0; i < width; from += row_bytes(cache.type, kAtOnce)) {
    const uint32_t count = std::min(kAtOnce, width - i);
    quant_format(cache.type).decode(from, floats, cache_columns(cache.type, count));
    for (uint32_t k = 0; k < count; ++k) values[i++] = double{floats[k]};
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
