// A block of activations to sparse digits, eight at a time. A body: included by kernels_*.cpp.
#pragma once

#include "device/cpu/kernels/digits.h"

namespace {

using namespace hadal::cpu;

void quantize_block(const float* in, size_t count, float reach, const DigitTokens& out,
                    size_t first_group) {
  const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  const auto size_at = [&](size_t i) { return _mm256_and_ps(_mm256_loadu_ps(in + i), no_sign); };
  __m256 greatest = _mm256_setzero_ps(), total = _mm256_setzero_ps();
  for (size_t i = 0; i < count; i += 8) {
    const __m256 size = size_at(i);
    greatest = _mm256_max_ps(greatest, size);
    total = _mm256_add_ps(total, size);
  }
  const __m256 cut = _mm256_set1_ps(kCut * sum8(total) / static_cast<float>(count));
  __m256 squares = _mm256_setzero_ps();
  for (size_t i = 0; i < count; i += 8) {
    const __m256 size = _mm256_min_ps(size_at(i), cut);
    squares = _mm256_fmadd_ps(size, size, squares);
  }
  const auto [scale, inverse_of] =
      block_scale(greatest8(greatest), sum8(squares) / static_cast<float>(count), reach);
  const __m256 inverse = _mm256_set1_ps(inverse_of);
  const __m256i half = _mm256_set1_epi32(1 << (kDigitBits - 1));
  int32_t sum = 0;
  __m256i highs_sum = _mm256_setzero_si256();
  for (size_t g = 0; g < count / 32; ++g) {
    __m256i numbers[4], high[4], low[4];
    for (int i = 0; i < 4; ++i) {
      const __m256 x = _mm256_loadu_ps(in + g * 32 + i * 8);
      numbers[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse));
      const __m256i great =
          _mm256_cmpgt_epi32(_mm256_abs_epi32(numbers[i]), _mm256_set1_epi32(127));
      high[i] = _mm256_and_si256(great,
                                 _mm256_srai_epi32(_mm256_add_epi32(numbers[i], half), kDigitBits));
      low[i] = _mm256_sub_epi32(numbers[i], _mm256_slli_epi32(high[i], kDigitBits));
      highs_sum = _mm256_add_epi32(highs_sum, high[i]);
    }
    const size_t group = first_group + g;
    const __m256i highs = bytes_of(high);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.high + group * 32), highs);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.low + group * 32), bytes_of(low));
    const __m256i none = _mm256_cmpeq_epi32(highs, _mm256_setzero_si256());
    out.steps[group] = static_cast<uint8_t>(~_mm256_movemask_ps(_mm256_castsi256_ps(none)));
    const int first = sum8(_mm256_add_epi32(numbers[0], numbers[1]));
    const int second = sum8(_mm256_add_epi32(numbers[2], numbers[3]));
    out.sums16[2 * group] = static_cast<float>(first);
    out.sums16[2 * group + 1] = static_cast<float>(second);
    out.sums32[group] = static_cast<float>(first + second);
    sum += first + second;
  }
  out.scales[first_group] = scale;
  out.starts[first_group / (kSparseBlock / 32)] = -128 * sum - 64 * sum8(highs_sum);
}

}  // namespace
