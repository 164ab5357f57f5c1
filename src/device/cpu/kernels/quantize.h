// Activations to two int8 digits, in both forms. A body: included by kernels_*.cpp.
#pragma once

#if defined(__AVX512VNNI__)
#include "device/cpu/kernels/quantize_block_vnni.h"
#else
#include "device/cpu/kernels/quantize_block.h"
#endif

namespace {

using namespace hadal::cpu;

inline void store_bytes(const __m256i (&words)[4], int8_t* out, int8_t* crossed) {
  const __m256i bytes = bytes_of(words);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(crossed), _mm256_castsi256_si128(bytes));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(crossed + 64), _mm256_extracti128_si256(bytes, 1));
}

void quantize_group(const float* in, const DigitTokens& out, size_t group) {
  const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 x[4], greatest = _mm256_setzero_ps();
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm256_loadu_ps(in + i * 8);
    greatest = _mm256_max_ps(greatest, _mm256_and_ps(x[i], no_sign));
  }
  constexpr float kMost = 127 << kDigitBits;
  const float scale = greatest8(greatest) / kMost;
  const __m256 inverse = _mm256_set1_ps(scale != 0 ? 1.0f / scale : 0.0f);
  const __m256i half = _mm256_set1_epi32(1 << (kDigitBits - 1));
  __m256i number[4], high[4], low[4];
  for (int i = 0; i < 4; ++i) {
    number[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse));
    high[i] = _mm256_srai_epi32(_mm256_add_epi32(number[i], half), kDigitBits);
    low[i] = _mm256_sub_epi32(number[i], _mm256_slli_epi32(high[i], kDigitBits));
  }
  store_bytes(high, out.high + group * 32, out.crossed_high + crossed_place(group));
  store_bytes(low, out.low + group * 32, out.crossed_low + crossed_place(group));
  const float first = scale * static_cast<float>(sum8(_mm256_add_epi32(number[0], number[1])));
  const float second = scale * static_cast<float>(sum8(_mm256_add_epi32(number[2], number[3])));
  out.scales[group] = scale;
  out.sums16[2 * group] = first;
  out.sums16[2 * group + 1] = second;
  out.sums32[group] = first + second;
}

void quantize_fine(const float* in, size_t first, size_t count, const DigitTokens& out,
                   size_t token) {
  const size_t first_group = (token * out.columns + first) / 32;
  for (size_t g = 0; g < count / 32; ++g) quantize_group(in + g * 32, out, first_group + g);
}

void quantize_sparse(const float* in, size_t first, size_t count, float reach,
                     const DigitTokens& out, size_t token) {
  const size_t first_group = (token * out.columns + first) / 32;
  for (size_t at = 0; at < count; at += kSparseBlock) {
    const size_t left = count - at;
    quantize_block(in + at, left < kSparseBlock ? left : kSparseBlock, reach, out,
                   first_group + at / 32);
  }
}

}  // namespace
