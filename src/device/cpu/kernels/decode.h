// Rows of every format as floats, for products that need a weight's rows as they are. A body:
// included by kernels_*.cpp.
#pragma once

#include "device/cpu/kernels/float_matmul.h"
#include "device/cpu/kernels/formats.h"
#include "device/cpu/kernels/integer_gemv.h"

namespace {

using namespace hadal::cpu;

inline __m256 floats_of_eight(bool is_signed, const uint8_t* bytes) {
  const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  return _mm256_cvtepi32_ps(is_signed ? _mm256_cvtepi8_epi32(eight) : _mm256_cvtepu8_epi32(eight));
}

template <class F>
void decode_integer(const uint8_t* row, size_t columns, float* out) {
  for (size_t first = 0; first < columns; first += 256, row += kRunBytes<F>) {
    const size_t left = columns - first;
    const int parts = left < 256 ? static_cast<int>(left / 32) : 8;
    const Scales scales = F::scales(row, parts);
    alignas(32) float scale[16], minimum[16];
    for (int i = 0; i < 2; ++i) {
      _mm256_store_ps(scale + i * 8, scales.scale[i]);
      _mm256_store_ps(minimum + i * 8, scales.minimum[i]);
    }
    const __m256 offset = _mm256_set1_ps(static_cast<float>(F::kOffset));
#pragma GCC unroll 8
    for (int part = 0; part < parts; ++part) {
      alignas(32) uint8_t bytes[32];
      _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), F::values(row, part));
      for (int i = 0; i < 4; ++i) {
        const int group = (part * 32 + i * 8) / F::kGroup;
        __m256 value = floats_of_eight(F::kSigned, bytes + i * 8);
        if (F::kOffset != 0) value = _mm256_sub_ps(value, offset);
        value = _mm256_mul_ps(value, _mm256_set1_ps(scale[group]));
        if (F::kMinimums) value = _mm256_sub_ps(value, _mm256_set1_ps(minimum[group]));
        _mm256_storeu_ps(out + first + part * 32 + i * 8, value);
      }
    }
  }
}

template <class F>
void decode_float(const uint8_t* row, const RowScales& scales, size_t columns, float* out) {
  size_t c = 0;
  for (; c + 8 <= columns; c += 8) _mm256_storeu_ps(out + c, F::load8(row + c * F::kBytes));
  if (c < columns) {
    alignas(32) float last[8];
    _mm256_store_ps(last, load_some<F>(row + c * F::kBytes, columns - c));
    memcpy(out + c, last, (columns - c) * sizeof(float));
  }
  if (scales.scales == nullptr) return;
  for (size_t i = 0; i < columns; ++i) out[i] *= scales.scales[i / scales.columns_per_scale];
}

}  // namespace
