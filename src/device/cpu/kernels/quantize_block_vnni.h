// A block of activations to sparse digits, for the tiles of 512-bit VNNI (byte_tile.h,
// nibble_tile.h). A body: included by kernels_*.cpp.
#pragma once

#include "device/cpu/kernels/digits.h"

namespace {

using namespace hadal::cpu;

// Bits 4 i .. of a mask as bit i: any of them.
inline uint8_t any_of_four(uint32_t mask) {
  mask |= mask >> 1;
  mask |= mask >> 2;
  return static_cast<uint8_t>(_pext_u32(mask, 0x11111111));
}

void quantize_block(const float* in, size_t count, float reach, const DigitTokens& out,
                    size_t first_group) {
  __m512 greatest = _mm512_setzero_ps(), total = _mm512_setzero_ps();
  for (size_t i = 0; i < count; i += 16) {
    const __m512 size = _mm512_abs_ps(_mm512_loadu_ps(in + i));
    greatest = _mm512_max_ps(greatest, size);
    total = _mm512_add_ps(total, size);
  }
  const float of_all = 1 / static_cast<float>(count);
  const __m512 cut = _mm512_set1_ps(kCut * _mm512_reduce_add_ps(total) * of_all);
  __m512 squares = _mm512_setzero_ps();
  for (size_t i = 0; i < count; i += 16) {
    const __m512 size = _mm512_min_ps(_mm512_abs_ps(_mm512_loadu_ps(in + i)), cut);
    squares = _mm512_fmadd_ps(size, size, squares);
  }
  const auto [scale, inverse_of] =
      block_scale(_mm512_reduce_max_ps(greatest), _mm512_reduce_add_ps(squares) * of_all, reach);
  const __m512 inverse = _mm512_set1_ps(inverse_of);
  const __m512i half = _mm512_set1_epi32(1 << (kDigitBits - 1));
  __m512i highs = _mm512_setzero_si512();
  int32_t lows_sum = 0;
  for (size_t g = 0; g < count / 32; ++g) {
    const size_t group = first_group + g;
    __m512i low[2];
    uint32_t outliers = 0;
    for (size_t i = 0; i < 2; ++i) {
      const __m512 x = _mm512_loadu_ps(in + g * 32 + i * 16);
      const __m512i number = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
      const __mmask16 great =
          _mm512_cmpgt_epi32_mask(_mm512_abs_epi32(number), _mm512_set1_epi32(127));
      const __m512i high =
          _mm512_maskz_srai_epi32(great, _mm512_add_epi32(number, half), kDigitBits);
      low[i] = _mm512_sub_epi32(number, _mm512_slli_epi32(high, kDigitBits));
      highs = _mm512_add_epi32(highs, high);
      outliers |= static_cast<uint32_t>(great) << (16 * i);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out.high + group * 32 + i * 16),
                       _mm512_cvtepi32_epi8(high));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out.low + group * 32 + i * 16),
                       _mm512_cvtepi32_epi8(low[i]));
    }
    out.steps[group] = any_of_four(outliers);
    const int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low[0], low[1]));
    out.group_starts[group] = -8 * sum;
    lows_sum += sum;
  }
  out.scales[first_group] = scale;
  // A high digit counts for 128 low ones.
  const int32_t highs_sum = _mm512_reduce_add_epi32(highs);
  out.starts[first_group / (kSparseBlock / 32)] =
      -128 * (lows_sum + 128 * highs_sum) - 64 * highs_sum;
}

}  // namespace
