// 32 bytes in a register: what weights are unpacked into, on every instruction set, and the integer
// products of them. A body: included by kernels_*.cpp.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace {

using Bytes = __m256i;  // 32 values of 8 bits

inline Bytes load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// Always inline, like all that only prefetches: gcc takes such a function for one without effect,
// and drops the call.
[[gnu::always_inline]] inline void prefetch_lines(const uint8_t* p, size_t bytes) {
  for (size_t line = 0; line < bytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + line), _MM_HINT_T0);
  }
}

// A stretch of memory that is read once, from one end to the other: it is fetched as far ahead as
// the memory delivers in the time it takes to answer under load, and not beyond its end, as the
// neighbour's bytes are another thread's to fetch. Into the second cache, which waits for three
// times as many lines as the first does.
struct Stream {
  static constexpr size_t kAhead = 8192;
  const uint8_t* end;

  [[gnu::always_inline]] Stream(const uint8_t* start, size_t bytes) : end(start + bytes) {
    fetch(start, bytes < kAhead ? bytes : kAhead);
  }
  // What lies kAhead behind `bytes` bytes that are about to be read.
  [[gnu::always_inline]] void follow(const uint8_t* p, size_t bytes) const {
    if (static_cast<size_t>(end - p) > kAhead) fetch(p + kAhead, bytes);
  }

 private:
  [[gnu::always_inline]] static void fetch(const uint8_t* p, size_t bytes) {
    for (size_t line = 0; line < bytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(p + line), _MM_HINT_T1);
    }
  }
};

inline uint32_t load_u32(const void* p) {
  uint32_t word;
  memcpy(&word, p, sizeof(word));
  return word;
}

inline uint16_t load_u16(const void* p) {
  uint16_t word;
  memcpy(&word, p, sizeof(word));
  return word;
}

inline float f16_at(const void* p) {
  return _cvtsh_ss(load_u16(p));
}

// 16 bytes as 32 values of 4 bits: the low halves, then the high halves.
inline Bytes halves(const void* p) {
  const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  const __m256i shifted = _mm256_srlv_epi32(both, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
  return _mm256_and_si256(shifted, _mm256_set1_epi8(15));
}

// table[i] of each of 32 bytes i below 16; the table's 16 bytes stand twice.
inline Bytes look_up(Bytes table, Bytes indices) {
  return _mm256_shuffle_epi8(table, indices);
}

// Byte i all ones where bit i of a 32-bit number is set.
inline Bytes spread_bits(uint32_t bits) {
  const __m256i spread =
      _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)),
                          _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3));
  const __m256i others = _mm256_set1_epi64x(0x7fbfdfeff7fbfdfe);  // all bits but byte i's i-th
  return _mm256_cmpeq_epi8(_mm256_or_si256(spread, others), _mm256_set1_epi8(-1));
}

// values + amount where the bit of a 32-bit number is set.
inline Bytes add_at_bits(Bytes values, uint32_t bits, int8_t amount) {
#if defined(__AVX512BW__)
  return _mm256_mask_add_epi8(values, bits, values, _mm256_set1_epi8(amount));
#else
  return _mm256_add_epi8(values, _mm256_and_si256(spread_bits(bits), _mm256_set1_epi8(amount)));
#endif
}

inline float sum8(__m256 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

// The sums over the lanes of four vectors.
inline __m128 sum_of_four(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

// rows[r] word i <-> rows[i] word r.
inline void transpose_words(__m256i (&rows)[8]) {
  __m256i pairs[8], fours[8];
  for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    fours[4 * i] = _mm256_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
    fours[4 * i + 1] = _mm256_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
    fours[4 * i + 2] = _mm256_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
    fours[4 * i + 3] = _mm256_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x31);
  }
}

}  // namespace
