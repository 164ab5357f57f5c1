// What both forms of activations' digits, and blocks of both kinds, need. A body: included by
// kernels_*.cpp.
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

// Values of so many means count as that many in a block's mean square: a few great ones, which have
// high digits anyway, should not widen the step of all others.
constexpr float kCut = 8;

// A block whose greatest value is at most so many reaches has low digits alone, of a step as wide
// as that takes: of a bell curve's 256 values one is beyond the reach in most blocks, and to
// multiply its high digit takes longer than its own exactness is worth (docs/numbers.md).
constexpr float kReachesAlone = 1.43f;

// What a block's values are divided by, and its inverse.
struct BlockScale {
  float scale, inverse;
};

// Of a block whose greatest value is `most`: the low digit reaches `reach` root mean squares, or a
// little further if that is all. The greatest value becomes a whole number, so that one which is
// alone stays exact.
inline BlockScale block_scale(float most, float mean_square, float reach) {
  constexpr float kMost = 127 << kDigitBits;
  const float low_most = root(mean_square) * reach;
  const float wanted = most > low_most * kReachesAlone ? 127 * (most / low_most) : 127;
  float number;
  _mm_store_ss(&number, _mm_round_ss(_mm_setzero_ps(), _mm_set_ss(wanted < kMost ? wanted : kMost),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  // Below this, where inverses overflow, all is 0.
  constexpr float kLeast = 1e-33f;
  return {most / number, most < kLeast ? 0.0f : number / most};
}

}  // namespace
