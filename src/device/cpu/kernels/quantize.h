// Activations to int8, a scale for each 32. A body: included by kernels_*.cpp.
#pragma once

#include "device/cpu/kernels/bytes.h"
#include "device/cpu/kernels/table.h"

namespace {

using namespace hadal::cpu;

inline float greatest8(__m256 a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

inline int sum8(__m256i words) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
  return _mm_cvtsi128_si32(s) + _mm_extract_epi32(s, 1);
}

void quantize(const float* in, const Int8Tokens& out, size_t token, float* remainder) {
  const size_t groups = out.columns / 32;
  const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  for (size_t g = 0; g < groups; ++g) {
    __m256 x[4], greatest = _mm256_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      x[i] = _mm256_loadu_ps(in + g * 32 + i * 8);
      greatest = _mm256_max_ps(greatest, _mm256_and_ps(x[i], no_sign));
    }
    const float scale = greatest8(greatest) / 127.0f;
    const __m256 inverse = _mm256_set1_ps(scale != 0 ? 1.0f / scale : 0.0f);
    __m256i words[4];
    for (int i = 0; i < 4; ++i) {
      words[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse));
      const __m256 lost =
          _mm256_fnmadd_ps(_mm256_cvtepi32_ps(words[i]), _mm256_set1_ps(scale), x[i]);
      _mm256_storeu_ps(remainder + g * 32 + i * 8, lost);
    }
    const size_t at = token * groups + g;
    const int low = sum8(_mm256_add_epi32(words[0], words[1]));
    const int high = sum8(_mm256_add_epi32(words[2], words[3]));
    out.scales[at] = scale;
    out.sums16[2 * at] = scale * static_cast<float>(low);
    out.sums16[2 * at + 1] = scale * static_cast<float>(high);
    out.sums32[at] = scale * static_cast<float>(low + high);
    out.integer_sums[2 * at] = static_cast<int16_t>(low);
    out.integer_sums[2 * at + 1] = static_cast<int16_t>(high);
    // Packing works on the two lanes apart: their words come out interleaved.
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                             _mm256_packs_epi32(words[2], words[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.values + at * 32),
                        _mm256_permutevar8x32_epi32(bytes, order));
  }
}

}  // namespace
