// Two parts of a run at once: 64 bytes, as formats.h says for 32. The formats that unpack two parts
// in fewer steps than one after the other say how. A body: included by the AVX-512 kernels.
#pragma once

#include "device/cpu/kernels/formats.h"

namespace {

inline __m512i both(Bytes first, Bytes second) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}
inline __m512i twice(const void* p) {
  return _mm512_broadcast_i64x4(load_bytes(p));
}
// Each half shifted by its own count of bits, within 16.
inline __m512i shift_halves_right(__m512i v, short first, short second) {
  return _mm512_srlv_epi16(v, both(_mm256_set1_epi16(first), _mm256_set1_epi16(second)));
}
inline __m512i shift_halves_left(__m512i v, short first, short second) {
  return _mm512_sllv_epi16(v, both(_mm256_set1_epi16(first), _mm256_set1_epi16(second)));
}
inline __m512i masked(__m512i v, int mask) {
  return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask)));
}

// Parts 2 i and 2 i + 1 of a whole run.
template <class F>
struct Pair {
  static __m512i values(const uint8_t* run, int i) {
    return both(F::values(run, 2 * i), F::values(run, 2 * i + 1));
  }
};
// As two_bits, four_bits and one_bit of formats.h.
inline __m512i two_bits_of_pair(const uint8_t* quants, int i) {
  const short shift = static_cast<short>(4 * (i % 2));
  return masked(
      shift_halves_right(twice(quants + 32 * (i / 2)), shift, static_cast<short>(shift + 2)), 3);
}
inline __m512i four_bits_of_pair(const uint8_t* quants, int i) {
  return masked(shift_halves_right(twice(quants + 32 * i), 0, 4), 15);
}
inline __m512i one_bit_of_pair(const uint8_t* bits, int i, int place_bit) {
  const short right = static_cast<short>(2 * i - place_bit), left = static_cast<short>(-right);
  const __m512i packed = twice(bits);
  const __m512i moved = right >= 0
                            ? shift_halves_right(packed, right, static_cast<short>(right + 1))
                            : shift_halves_left(packed, left, static_cast<short>(left - 1));
  return masked(moved, 1 << place_bit);
}
template <>
struct Pair<Q2_K> {
  static __m512i values(const uint8_t* block, int i) {
    return two_bits_of_pair(block + offsetof(BlockQ2_K, quants), i);
  }
};
template <>
struct Pair<Q3_K> {
  static __m512i values(const uint8_t* block, int i) {
    return _mm512_or_si512(two_bits_of_pair(block + offsetof(BlockQ3_K, quants), i),
                           one_bit_of_pair(block + offsetof(BlockQ3_K, high_bits), i, 2));
  }
};
template <>
struct Pair<Q4_K> {
  static __m512i values(const uint8_t* block, int i) {
    return four_bits_of_pair(block + offsetof(BlockQ4_K, quants), i);
  }
};
template <>
struct Pair<Q5_K> {
  static __m512i values(const uint8_t* block, int i) {
    return _mm512_or_si512(four_bits_of_pair(block + offsetof(BlockQ5_K, quants), i),
                           one_bit_of_pair(block + offsetof(BlockQ5_K, high_bits), i, 4));
  }
};
template <>
struct Pair<Q6_K> {
  static __m512i values(const uint8_t* block, int i) {
    const __m512i packed = _mm512_loadu_si512(block + 64 * (i / 2));
    const __m512i low = masked(i % 2 ? _mm512_srli_epi16(packed, 4) : packed, 15);
    const __m512i upper = twice(block + offsetof(BlockQ6_K, high_bits) + 32 * (i / 2));
    const __m512i moved = i % 2 ? shift_halves_right(upper, 0, 2) : shift_halves_left(upper, 4, 2);
    return _mm512_or_si512(low, masked(moved, 0x30));
  }
};

// --- what integer_gemv.h needs: a register's worth of a run ---

constexpr int kWideSums = 8;  // that registers hold beside a run's values
constexpr int kWideParts = 2;

// Parts 2 i .. of a run that has `parts`; behind them zeros.
template <class F>
inline WideInts wide_values(const uint8_t* run, int i, int parts) {
  if (2 * i + 1 < parts) return {Pair<F>::values(run, i)};
  return {both(F::values(run, 2 * i), _mm256_setzero_si256())};
}

// The same of HalvesFormat: the 16 bytes of `count` groups, four at most; behind them zeros.
constexpr int kWideGroups = 4;

template <size_t kStride>
inline WideInts wide_quants(const uint8_t* p, int count) {
  const auto group = [p](int i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * kStride));
  };
  if (kStride == 16 && count >= 4) return {_mm512_loadu_si512(p)};
  __m512i all = _mm512_zextsi128_si512(group(0));
  if (count > 1) all = _mm512_mask_broadcast_i32x4(all, 0x00f0, group(1));
  if (count > 2) all = _mm512_mask_broadcast_i32x4(all, 0x0f00, group(2));
  if (count > 3) all = _mm512_mask_broadcast_i32x4(all, 0xf000, group(3));
  return {all};
}
inline WideInts low_halves(WideInts packed) {
  return {masked(packed.v, 15)};
}
inline WideInts high_halves(WideInts packed) {
  return {masked(_mm512_srli_epi16(packed.v, 4), 15)};
}
// values + amount where the bit is set.
inline WideInts add_at_bits(WideInts values, uint64_t bits, int8_t amount) {
  return {_mm512_mask_add_epi8(values.v, bits, values.v, _mm512_set1_epi8(amount))};
}
inline WideInts look_up(Bytes table, WideInts indices) {
  return {_mm512_shuffle_epi8(both(table, table), indices.v)};
}

// Factors of a run's 8 groups, or 16, kept so that those of a register's lanes can be had.
template <class F>
struct WideFactors {
  __m512 all;
  // Register i, where so many lanes behind one another are of one group.
  template <int kLanes>
  Floats of(int i) const {
    const __m512i first = kLanes == 8
                              ? _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
                              : _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i index = _mm512_add_epi32(first, _mm512_set1_epi32(i * 16 / kLanes));
    return {_mm512_permutexvar_ps(index, all)};
  }
};
template <class F>
inline WideFactors<F> wide_factors(__m256 first, __m256 second) {
  if (F::kGroup == 32) return {_mm512_castps256_ps512(first)};
  return {_mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1)};
}

// rows[r] word i <-> rows[i] word r.
[[gnu::always_inline]] inline void transpose_words(WideInts (&rows)[16]) {
  __m512i pairs[16], fours[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i].v, rows[i + 1].v);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i].v, rows[i + 1].v);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  // fours[4 a + b], 128 bits c: word 4 c + b of rows 4 a ..
#pragma GCC unroll 4
  for (int b = 0; b < 4; ++b) {
    const __m512i low_first = _mm512_shuffle_i32x4(fours[b], fours[4 + b], 0x44);
    const __m512i low_last = _mm512_shuffle_i32x4(fours[8 + b], fours[12 + b], 0x44);
    const __m512i high_first = _mm512_shuffle_i32x4(fours[b], fours[4 + b], 0xee);
    const __m512i high_last = _mm512_shuffle_i32x4(fours[8 + b], fours[12 + b], 0xee);
    rows[b].v = _mm512_shuffle_i32x4(low_first, low_last, 0x88);
    rows[4 + b].v = _mm512_shuffle_i32x4(low_first, low_last, 0xdd);
    rows[8 + b].v = _mm512_shuffle_i32x4(high_first, high_last, 0x88);
    rows[12 + b].v = _mm512_shuffle_i32x4(high_first, high_last, 0xdd);
  }
}

}  // namespace
