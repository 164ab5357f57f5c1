// The formats whose quants are numbers of grid entries (quant/grids.h), as formats.h says for the
// others. An entry is looked up as 8 (or 4) bytes at once; as no byte may be negative each is level
// + offset, and a sign mirrors it there: offset - level. A body: included by kernels_*.cpp.
#pragma once

#include "device/cpu/kernels/formats.h"
#include "quant/grids.h"

namespace {

using namespace hadal;

template <size_t kEntries>
struct GridOf8 {
  uint64_t entries[kEntries];
};
template <size_t kEntries>
struct GridOf4 {
  uint32_t entries[kEntries];
};

// Bytes of factor * level + offset.
template <size_t kEntries>
constexpr GridOf8<kEntries> expanded(const uint16_t (&packed)[kEntries], const int8_t (&levels)[4],
                                     int factor, int offset) {
  GridOf8<kEntries> grid = {};
  for (size_t i = 0; i < kEntries; ++i) {
    for (int j = 0; j < 8; ++j) {
      const int level = levels[(packed[i] >> (2 * j)) & 3] * factor + offset;
      grid.entries[i] |= static_cast<uint64_t>(level) << (8 * j);
    }
  }
  return grid;
}
template <size_t kEntries>
constexpr GridOf4<kEntries> expanded(const uint16_t (&packed)[kEntries], const int8_t (&levels)[8],
                                     int offset) {
  GridOf4<kEntries> grid = {};
  for (size_t i = 0; i < kEntries; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int level = levels[(packed[i] >> (3 * j)) & 7] + offset;
      grid.entries[i] |= static_cast<uint32_t>(level) << (8 * j);
    }
  }
  return grid;
}

constexpr int kIq2Offset = 43, kIq3XxsOffset = 62, kIq3SOffset = 15;  // the greatest level of each
constexpr auto kIq2XxsBytes = expanded(kIq2XxsGrid, kIq2Levels, 1, kIq2Offset);
constexpr auto kIq2XsBytes = expanded(kIq2XsGrid, kIq2Levels, 1, kIq2Offset);
constexpr auto kIq2SBytes = expanded(kIq2SGrid, kIq2Levels, 1, kIq2Offset);
constexpr auto kIq3XxsBytes = expanded(kIq3XxsGrid, kIq3XxsLevels, kIq3XxsOffset);
constexpr auto kIq3SBytes = expanded(kIq3SGrid, kIq3SLevels, kIq3SOffset);
constexpr auto kIq1Bytes = expanded(kIq1Grid, kIq1Levels, 8, 8);  // in eighths

inline uint64_t load_u64(const void* p) {
  uint64_t word;
  memcpy(&word, p, sizeof(word));
  return word;
}

// The entries of numbers number(0) .. number(3); for GridOf4 up to number(7). Broadcast, then
// blended: one port alone shuffles, and all load or blend.
template <size_t kEntries, typename Number>
inline Bytes look_up(const GridOf8<kEntries>& grid, Number number) {
  const auto at = [&](int k) {
    return _mm256_set1_epi64x(static_cast<long long>(grid.entries[number(k)]));
  };
  return _mm256_blend_epi32(_mm256_blend_epi32(at(0), at(1), 0x0c),
                            _mm256_blend_epi32(at(2), at(3), 0xc0), 0xf0);
}
template <size_t kEntries, typename Number>
inline Bytes look_up(const GridOf4<kEntries>& grid, Number number) {
  const auto at = [&](int k) {
    return _mm256_set1_epi32(static_cast<int>(grid.entries[number(k)]));
  };
  const Bytes low = _mm256_blend_epi32(_mm256_blend_epi32(at(0), at(1), 0x02),
                                       _mm256_blend_epi32(at(2), at(3), 0x08), 0x0c);
  const Bytes high = _mm256_blend_epi32(_mm256_blend_epi32(at(4), at(5), 0x20),
                                        _mm256_blend_epi32(at(6), at(7), 0x80), 0xc0);
  return _mm256_blend_epi32(low, high, 0xf0);
}

// ---- Signs of 32 values, one bit each, or four times seven of eight whose number is even: behind
// one another, or in the upper bits of four 16-bit words.
#if defined(__AVX512BW__)

using Signs = uint32_t;

inline Signs signs_of_bits(const void* bits) {
  return load_u32(bits);
}
inline Signs signs_of_sevens(uint32_t sevens) {
  const uint32_t bits = _pdep_u32(sevens, 0x7f7f7f7f);
  uint32_t parity = bits ^ (bits >> 4);  // of each byte, at last in its lowest bit
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return bits | ((parity & 0x01010101) << 7);
}
inline Signs signs_of_words(uint64_t words) {
  return signs_of_sevens(static_cast<uint32_t>(_pext_u64(words, 0xfe00fe00fe00fe00)));
}
template <int kOffset>
inline Bytes mirror(Bytes values, Signs signs) {
  return _mm256_mask_sub_epi8(values, signs, _mm256_set1_epi8(2 * kOffset), values);
}

#else

using Signs = Bytes;  // all ones where negative

// Without pdep, which is slow on some processors that have AVX2 alone.
constexpr GridOf8<128> masks_of_sevens() {
  GridOf8<128> masks = {};
  for (uint32_t seven = 0; seven < 128; ++seven) {
    const uint32_t bits = seven | (static_cast<uint32_t>(__builtin_popcount(seven) % 2) << 7);
    for (int j = 0; j < 8; ++j) {
      if ((bits >> j) & 1) masks.entries[seven] |= uint64_t{255} << (8 * j);
    }
  }
  return masks;
}
constexpr auto kSevenSigns = masks_of_sevens();

inline Signs signs_of_bits(const void* bits) {
  return spread_bits(load_u32(bits));
}
inline Signs signs_of_sevens(uint32_t sevens) {
  return look_up(kSevenSigns, [&](int k) { return (sevens >> (7 * k)) & 127; });
}
inline Signs signs_of_words(uint64_t words) {
  return look_up(kSevenSigns, [&](int k) { return (words >> (16 * k + 9)) & 127; });
}
template <int kOffset>
inline Bytes mirror(Bytes values, Signs signs) {  // ~x is -x - 1
  const Bytes carry = _mm256_and_si256(signs, _mm256_set1_epi8(2 * kOffset + 1));
  return _mm256_add_epi8(_mm256_xor_si256(values, signs), carry);
}

#endif

// 2 x + 1 of eight numbers, times a scale: every sub-scale here is an odd number.
inline __m256 odd_multiples(__m256i numbers, float scale) {
  const __m256i odd = _mm256_add_epi32(_mm256_slli_epi32(numbers, 1), _mm256_set1_epi32(1));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(odd), _mm256_set1_ps(scale));
}
// The upper four bits of eight 32-bit words, `stride` bytes apart: 4 or 8.
template <int kStride>
inline __m256i top_four_bits(const uint8_t* words) {
  Bytes all = load_bytes(words);
  if (kStride == 8) {
    const __m256 odd = _mm256_shuffle_ps(_mm256_castsi256_ps(all),
                                         _mm256_castsi256_ps(load_bytes(words + 32)), 0xdd);
    all = _mm256_permute4x64_epi64(_mm256_castps_si256(odd), 0xd8);
  }
  return _mm256_srli_epi32(all, 28);
}
// 2 x + 1 of sixteen numbers in the halves of eight bytes, times a scale.
inline Scales scales_of_halves(const uint8_t* packed, float scale) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(packed));
  const __m128i numbers =
      _mm_and_si128(_mm_unpacklo_epi8(bytes, _mm_srli_epi16(bytes, 4)), _mm_set1_epi8(15));
  Scales scales;
  scales.scale[0] = odd_multiples(_mm256_cvtepi8_epi32(numbers), scale);
  scales.scale[1] = odd_multiples(_mm256_cvtepi8_epi32(_mm_srli_si128(numbers, 8)), scale);
  return scales;
}

struct IQ2_XXS : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockIQ2_XXS);
  static constexpr int kOffset = kIq2Offset, kMaximum = 2 * kOffset;
  static Bytes values(const uint8_t* block, int i) {
    const uint8_t* quants = block + offsetof(BlockIQ2_XXS, quants) + 8 * i;
    const Bytes levels = look_up(kIq2XxsBytes, [&](int k) { return quants[k]; });
    return mirror<kOffset>(levels, signs_of_sevens(load_u32(quants + 4)));
  }
  static Scales scales(const uint8_t* block, int) {
    Scales scales;
    scales.scale[0] =
        odd_multiples(top_four_bits<8>(block + offsetof(BlockIQ2_XXS, quants)), f16_at(block) / 8);
    return scales;
  }
};

struct IQ2_XS : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockIQ2_XS);
  static constexpr int kGroup = 16, kOffset = kIq2Offset, kMaximum = 2 * kOffset;
  static Bytes values(const uint8_t* block, int i) {
    const uint64_t quants = load_u64(block + offsetof(BlockIQ2_XS, quants) + 8 * i);
    const Bytes levels = look_up(kIq2XsBytes, [&](int k) { return (quants >> (16 * k)) & 511; });
    return mirror<kOffset>(levels, signs_of_words(quants));
  }
  static Scales scales(const uint8_t* block, int) {
    return scales_of_halves(block + offsetof(BlockIQ2_XS, scales), f16_at(block) / 8);
  }
};

struct IQ2_S : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockIQ2_S);
  static constexpr int kGroup = 16, kOffset = kIq2Offset, kMaximum = 2 * kOffset;
  static Bytes values(const uint8_t* block, int i) {
    const uint8_t* quants = block + offsetof(BlockIQ2_S, quants) + 4 * i;
    const uint32_t high = uint32_t{block[offsetof(BlockIQ2_S, high_bits) + i]} << 8;
    const Bytes levels =
        look_up(kIq2SBytes, [&](int k) { return quants[k] | ((high >> (2 * k)) & 0x300); });
    return mirror<kOffset>(levels, signs_of_bits(block + offsetof(BlockIQ2_S, signs) + 4 * i));
  }
  static Scales scales(const uint8_t* block, int) {
    return scales_of_halves(block + offsetof(BlockIQ2_S, scales), f16_at(block) / 8);
  }
};

struct IQ3_XXS : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockIQ3_XXS);
  static constexpr int kOffset = kIq3XxsOffset, kMaximum = 2 * kOffset;
  static Bytes values(const uint8_t* block, int i) {
    const uint8_t* quants = block + offsetof(BlockIQ3_XXS, quants) + 8 * i;
    const Bytes levels = look_up(kIq3XxsBytes, [&](int k) { return quants[k]; });
    const uint8_t* signs = block + offsetof(BlockIQ3_XXS, signs_and_scales) + 4 * i;
    return mirror<kOffset>(levels, signs_of_sevens(load_u32(signs)));
  }
  static Scales scales(const uint8_t* block, int) {
    Scales scales;
    scales.scale[0] = odd_multiples(
        top_four_bits<4>(block + offsetof(BlockIQ3_XXS, signs_and_scales)), f16_at(block) / 4);
    return scales;
  }
};

struct IQ3_S : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockIQ3_S);
  static constexpr int kOffset = kIq3SOffset, kMaximum = 2 * kOffset;
  static Bytes values(const uint8_t* block, int i) {
    const uint8_t* quants = block + offsetof(BlockIQ3_S, quants) + 8 * i;
    const uint32_t high = uint32_t{block[offsetof(BlockIQ3_S, high_bits) + i]} << 8;
    const Bytes levels =
        look_up(kIq3SBytes, [&](int k) { return quants[k] | ((high >> k) & 0x100); });
    return mirror<kOffset>(levels, signs_of_bits(block + offsetof(BlockIQ3_S, signs) + 4 * i));
  }
  static Scales scales(const uint8_t* block, int) {
    const uint32_t packed = load_u32(block + offsetof(BlockIQ3_S, scales));
    const __m256i moved = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(packed)),
                                            _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    Scales scales;
    scales.scale[0] = odd_multiples(_mm256_and_si256(moved, _mm256_set1_epi32(15)), f16_at(block));
    return scales;
  }
};

// (level +- 1/8) x scale is (8 level + 8) x scale / 8, less 7 or 9 of these eighths.
struct IQ1_S : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockIQ1_S);
  static constexpr bool kMinimums = true;
  static constexpr int kMaximum = 16;
  static Bytes values(const uint8_t* block, int i) {
    const uint8_t* quants = block + offsetof(BlockIQ1_S, quants) + 4 * i;
    const uint32_t high = uint32_t{load_u16(block + offsetof(BlockIQ1_S, rest) + 2 * i)} << 8;
    return look_up(kIq1Bytes, [&](int k) { return quants[k] | ((high >> (3 * k)) & 0x700); });
  }
  static Scales scales(const uint8_t* block, int) {
    const __m256i rest = _mm256_cvtepu16_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + offsetof(BlockIQ1_S, rest))));
    const __m256i numbers = _mm256_and_si256(_mm256_srli_epi32(rest, 12), _mm256_set1_epi32(7));
    const __m256i two = _mm256_and_si256(_mm256_srli_epi32(rest, 14), _mm256_set1_epi32(2));
    const __m256i eighths = _mm256_add_epi32(two, _mm256_set1_epi32(7));
    Scales scales;
    scales.scale[0] = odd_multiples(numbers, f16_at(block) / 8);
    scales.minimum[0] = _mm256_mul_ps(scales.scale[0], _mm256_cvtepi32_ps(eighths));
    return scales;
  }
};

// The eighth changes its sign with each group of 8 values: 8 level + 8, and 2 where it is added,
// less 9 eighths.
struct IQ1_M : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockIQ1_M);
  static constexpr int kGroup = 16, kOffset = 9, kMaximum = 18;
  static Bytes values(const uint8_t* block, int i) {
    const uint8_t* quants = block + offsetof(BlockIQ1_M, quants) + 4 * i;
    const uint32_t high = load_u16(block + offsetof(BlockIQ1_M, high_bits) + 2 * i);
    const Bytes levels =
        look_up(kIq1Bytes, [&](int k) { return quants[k] | (((high >> (4 * k)) & 7) << 8); });
    const __m256i moved =
        _mm256_sllv_epi64(_mm256_set1_epi64x(high), _mm256_setr_epi64x(60, 56, 52, 48));
    const __m256i subtracted = _mm256_cmpgt_epi64(_mm256_setzero_si256(), moved);
    return _mm256_add_epi8(levels, _mm256_andnot_si256(subtracted, _mm256_set1_epi8(2)));
  }
  static Scales scales(const uint8_t* block, int) {
    const uint64_t packed = load_u64(block + offsetof(BlockIQ1_M, scales));
    const auto scale_bits =
        static_cast<unsigned short>((packed >> 12 & 0x000f) | (packed >> 24 & 0x00f0) |
                                    (packed >> 36 & 0x0f00) | (packed >> 48 & 0xf000));
    const float scale = _cvtsh_ss(scale_bits) / 8;
    // Words 0 and 1, then 2 and 3, each four times, shifted to one of its four numbers.
    const __m256i words = _mm256_set1_epi64x(static_cast<long long>(packed));
    const auto eight = [&](int first) {
      const __m256i twice = _mm256_srlv_epi64(
          words, _mm256_setr_epi64x(16 * first, 16 * first, 16 * first + 16, 16 * first + 16));
      const __m256i low = _mm256_shuffle_epi32(twice, 0xa0);
      const __m256i moved = _mm256_srlv_epi32(low, _mm256_setr_epi32(0, 3, 6, 9, 0, 3, 6, 9));
      return odd_multiples(_mm256_and_si256(moved, _mm256_set1_epi32(7)), scale);
    };
    Scales scales;
    scales.scale[0] = eight(0);
    scales.scale[1] = eight(2);
    return scales;
  }
};

}  // namespace
