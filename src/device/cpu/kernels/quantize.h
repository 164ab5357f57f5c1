// Activations to two int8 digits, in both forms. A body: included by kernels_*.cpp.
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

inline float root(float x) {
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}

inline int sum8(__m256i words) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
  return _mm_cvtsi128_si32(s) + _mm_extract_epi32(s, 1);
}

// Packing works on the two lanes apart: their words come out interleaved.
inline __m256i bytes_of(const __m256i (&words)[4]) {
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                            _mm256_packs_epi32(words[2], words[3]));
  return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

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

// Values of so many means count as that many in a block's mean square: a few great ones, which have
// high digits anyway, should not widen the step of all others.
constexpr float kCut = 8;

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
  // The greatest value becomes a whole number, so that one which is alone stays exact.
  constexpr float kMost = 127 << kDigitBits;
  const float most = greatest8(greatest);
  const float low_most = root(sum8(squares) / static_cast<float>(count)) * reach;
  const float wanted = most > low_most ? 127 * (most / low_most) : 127;
  float number;
  _mm_store_ss(&number, _mm_round_ss(_mm_setzero_ps(), _mm_set_ss(wanted < kMost ? wanted : kMost),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  const float scale = most / number;
  // Below this, where inverses overflow, all is 0.
  constexpr float kLeast = 1e-33f;
  const __m256 inverse = _mm256_set1_ps(most < kLeast ? 0.0f : number / most);
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
