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

// `halves` (bytes.h) of two times 16 bytes.
inline __m512i halves_of_two(const uint8_t* first, const uint8_t* second) {
  const auto load16 = [](const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  };
  const __m512i packed =
      _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load16(first)), 0xff00, load16(second));
  const __m256i counts = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
  return masked(_mm512_srlv_epi32(packed, both(counts, counts)), 15);
}
template <class Block>
inline __m512i halves_of_blocks(const uint8_t* block) {
  const uint8_t* quants = block + offsetof(Block, quants);
  return halves_of_two(quants, quants + sizeof(Block));
}
template <class Block>
inline __m512i five_bits_of_blocks(const uint8_t* block) {
  const uint8_t* bits = block + offsetof(Block, high_bits);
  const uint64_t mask = load_u32(bits) | uint64_t{load_u32(bits + sizeof(Block))} << 32;
  const __m512i low = halves_of_blocks<Block>(block);
  return _mm512_mask_add_epi8(low, mask, low, _mm512_set1_epi8(16));
}
inline __m512i level_of(__m512i indices, __m256i levels) {
  return _mm512_shuffle_epi8(both(levels, levels), indices);
}

// Parts 2 i and 2 i + 1 of a whole run.
template <class F>
struct Pair {
  static __m512i values(const uint8_t* run, int i) {
    return both(F::values(run, 2 * i), F::values(run, 2 * i + 1));
  }
};
template <>
struct Pair<Q4_0> {
  static __m512i values(const uint8_t* run, int i) {
    return halves_of_blocks<BlockQ4_0>(run + 2 * i * Q4_0::kBytes);
  }
};
template <>
struct Pair<Q4_1> {
  static __m512i values(const uint8_t* run, int i) {
    return halves_of_blocks<BlockQ4_1>(run + 2 * i * Q4_1::kBytes);
  }
};
template <>
struct Pair<Q5_0> {
  static __m512i values(const uint8_t* run, int i) {
    return five_bits_of_blocks<BlockQ5_0>(run + 2 * i * Q5_0::kBytes);
  }
};
template <>
struct Pair<Q5_1> {
  static __m512i values(const uint8_t* run, int i) {
    return five_bits_of_blocks<BlockQ5_1>(run + 2 * i * Q5_1::kBytes);
  }
};
template <>
struct Pair<IQ4_NL> {
  static __m512i values(const uint8_t* run, int i) {
    return level_of(halves_of_blocks<BlockIQ4_NL>(run + 2 * i * IQ4_NL::kBytes), iq4_table());
  }
};
template <>
struct Pair<IQ4_XS> {
  static __m512i values(const uint8_t* block, int i) {
    const uint8_t* quants = block + offsetof(BlockIQ4_XS, quants) + 32 * i;
    return level_of(halves_of_two(quants, quants + 16), iq4_table());
  }
};
template <>
struct Pair<MXFP4> {
  static __m512i values(const uint8_t* run, int i) {
    return level_of(halves_of_blocks<BlockMXFP4>(run + 2 * i * MXFP4::kBytes), MXFP4::table());
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

constexpr int kWideParts = 2;

// Parts 2 i .. of a run that has `parts`; behind them zeros.
template <class F>
inline WideInts wide_values(const uint8_t* run, int i, int parts) {
  if (2 * i + 1 < parts) return {Pair<F>::values(run, i)};
  return {both(F::values(run, 2 * i), _mm256_setzero_si256())};
}

// Factors of a run, kept so that those of each register's lanes can be had: 8, or 16.
template <class F>
struct WideFactors {
  __m512 all;
  Floats of(int i) const {
    constexpr int kLanes = F::kGroup / 4;  // of a group
    const __m512i first = kLanes == 8
                              ? _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
                              : _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i index = _mm512_add_epi32(first, _mm512_set1_epi32(i * 16 / kLanes));
    return {_mm512_permutexvar_ps(index, all)};
  }
};
template <class F>
inline WideFactors<F> wide_factors(__m256 first, __m256 second) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1)};
}

}  // namespace
