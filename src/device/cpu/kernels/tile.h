// What integer and float panels share. A body: included by kernels_*.cpp after their vector types.
#pragma once

#include "device/cpu/kernels/table.h"

namespace {

using namespace hadal::cpu;

constexpr size_t kPanelRows = kPanelVectors * Floats::kWidth;

// One token's column of a tile to its place: `rows` of the panel's rows are real.
template <int kVectors>
inline void store_token(const Floats (&totals)[kVectors], size_t token, size_t rows,
                        size_t first_row, const Destination& to) {
  constexpr size_t kRows = kVectors * Floats::kWidth;
  float* out = to.out + token * to.stride + first_row;
  const float* bias = to.bias == nullptr ? nullptr : to.bias + first_row;
  if (rows == kRows) {
    for (int v = 0; v < kVectors; ++v) {
      Floats total = totals[v];
      if (bias != nullptr) total = total + load(bias + v * Floats::kWidth);
      if (to.add) total = total + load(out + v * Floats::kWidth);
      store(out + v * Floats::kWidth, total);
    }
    return;
  }
  float values[kRows];
  for (int v = 0; v < kVectors; ++v) store(values + v * Floats::kWidth, totals[v]);
  for (size_t r = 0; r < rows; ++r) {
    float total = values[r];
    if (bias != nullptr) total += bias[r];
    out[r] = to.add ? out[r] + total : total;
  }
}

}  // namespace
