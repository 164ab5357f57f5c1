// How each quantised format's blocks become bytes and scales: the only place of the CPU kernels
// that knows their layout (quant/blocks.h). A body: included by kernels_*.cpp.
//
// A format says
//   kBytes     of a block
//   kGroup     values that share a scale: 32, or 16
//   kSigned    its bytes are signed; else unsigned, at most kMaximum
//   kOffset    what an unsigned byte q stands for is q - kOffset
//   kMinimums  groups have a minimum too, which is not zero
//   kSuper     a block has 256 values, not 32
//   kScaleFirst  (of small ones) it begins with its scale as f16, and its minimum, added, if any
//   kHalves    32 values are the low halves of 16 bytes, then the high ones (HalvesFormat)
//   kHalfValues  low halves of so many bytes behind one another, then their high halves; 0: not so
// and of a run of 256 values (one block, or eight)
//   values(run, i)      the 32 bytes of values 32 i ..
//   scales(run, parts)  of the 8 or 16 groups; the minimums are subtracted. Of a run of small
//                       blocks that a row's end cuts short, only `parts` are there: the other
//                       scales are 0.
#pragma once

#include "device/cpu/kernels/bytes.h"
#include "quant/blocks.h"

namespace {

using namespace hadal;

// Two f16 behind one another become words 0 and 1.
inline __m128 f16_pair_at(const void* p) {
  return _mm_cvtph_ps(_mm_loadl_epi64(static_cast<const __m128i*>(p)));
}

// Groups 0..7, and 8..15 where groups are of 16.
struct Scales {
  __m256 scale[2] = {}, minimum[2] = {};
};

struct SmallFormat {
  static constexpr bool kSuper = false, kSigned = false, kMinimums = false, kHalves = false;
  static constexpr bool kScaleFirst = true;
  static constexpr size_t kFifthBits = 0, kHalfValues = 0;
  static constexpr int kGroup = 32, kOffset = 0;
};

// Of several groups of 32 the 16 bytes each are halved at once, and meet digits in crossed order
// (table.h). From a run's start: kQuants, the first group's bytes; kQuantsStride to the next
// group's. kFifthBits: those of the values in the block; 0: none. finish(v): what bytes of four
// bits (five) stand for.
template <class Block>
struct HalvesFormat : SmallFormat {
  static constexpr bool kHalves = true;
  static constexpr size_t kHalfValues = 16;
  static constexpr size_t kBytes = sizeof(Block), kQuantsStride = sizeof(Block);
  static constexpr size_t kQuants = offsetof(Block, quants);
  static Bytes values(const uint8_t* run, int i) {
    return halves(run + kQuants + i * kQuantsStride);
  }
  template <class Wide>
  static Wide finish(Wide v) {
    return v;
  }
};

// The 16 bits at `p` in each of `count` blocks, four at most, then zeros. In scalar registers:
// where vectors are of 512 bits, their two ports are what a gemv waits for.
template <size_t kBytes>
[[gnu::always_inline]] inline uint64_t four_u16(const uint8_t* p, int count) {
  uint64_t all = 0;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    if (i < count) all |= uint64_t{load_u16(p + i * kBytes)} << (16 * i);
  }
  return all;
}
// Inlined by force: where a kernel more of it is made, the compiler would rather call.
template <size_t kBytes>
[[gnu::always_inline]] inline __m256 eight_f16(const uint8_t* p, int count) {
  const uint64_t first = four_u16<kBytes>(p, count);
  const uint64_t second = count > 4 ? four_u16<kBytes>(p + 4 * kBytes, count - 4) : 0;
  return _mm256_cvtph_ps(_mm_set_epi64x(static_cast<int64_t>(second), static_cast<int64_t>(first)));
}
template <class Block>
inline Scales small_scales(const uint8_t* run, int parts) {
  Scales scales;
  scales.scale[0] = eight_f16<sizeof(Block)>(run + offsetof(Block, scale), parts);
  return scales;
}
template <class Block>
inline Scales small_scales_and_minimums(const uint8_t* run, int parts) {
  Scales scales = small_scales<Block>(run, parts);
  // The file's minimums are added.
  scales.minimum[0] = _mm256_xor_ps(eight_f16<sizeof(Block)>(run + offsetof(Block, minimum), parts),
                                    _mm256_set1_ps(-0.0f));
  return scales;
}

struct Q4_0 : HalvesFormat<BlockQ4_0> {
  static constexpr int kOffset = 8, kMaximum = 15;
  static Scales scales(const uint8_t* run, int parts) {
    return small_scales<BlockQ4_0>(run, parts);
  }
};

struct Q4_1 : HalvesFormat<BlockQ4_1> {
  static constexpr bool kMinimums = true;
  static constexpr int kMaximum = 15;
  static Scales scales(const uint8_t* run, int parts) {
    return small_scales_and_minimums<BlockQ4_1>(run, parts);
  }
};

struct Q5_0 : HalvesFormat<BlockQ5_0> {
  static constexpr int kOffset = 16, kMaximum = 31;
  static constexpr size_t kFifthBits = offsetof(BlockQ5_0, high_bits);
  static Bytes values(const uint8_t* run, int i) {
    return add_at_bits(HalvesFormat::values(run, i), load_u32(run + i * kBytes + kFifthBits), 16);
  }
  static Scales scales(const uint8_t* run, int parts) {
    return small_scales<BlockQ5_0>(run, parts);
  }
};

struct Q5_1 : HalvesFormat<BlockQ5_1> {
  static constexpr bool kMinimums = true;
  static constexpr int kMaximum = 31;
  static constexpr size_t kFifthBits = offsetof(BlockQ5_1, high_bits);
  static Bytes values(const uint8_t* run, int i) {
    return add_at_bits(HalvesFormat::values(run, i), load_u32(run + i * kBytes + kFifthBits), 16);
  }
  static Scales scales(const uint8_t* run, int parts) {
    return small_scales_and_minimums<BlockQ5_1>(run, parts);
  }
};

struct Q8_0 : SmallFormat {
  static constexpr size_t kBytes = sizeof(BlockQ8_0);
  static constexpr bool kSigned = true;
  static constexpr int kMaximum = 128;
  static Bytes values(const uint8_t* run, int i) {
    const uint8_t* block = run + i * kBytes;
    return load_bytes(block + offsetof(BlockQ8_0, quants));
  }
  static Scales scales(const uint8_t* run, int parts) {
    return small_scales<BlockQ8_0>(run, parts);
  }
};

constexpr int8_t iq4_level(int i) {
  return kIq4Levels[i];
}

inline Bytes iq4_table() {
  return _mm256_broadcastsi128_si256(_mm_setr_epi8(
      iq4_level(0), iq4_level(1), iq4_level(2), iq4_level(3), iq4_level(4), iq4_level(5),
      iq4_level(6), iq4_level(7), iq4_level(8), iq4_level(9), iq4_level(10), iq4_level(11),
      iq4_level(12), iq4_level(13), iq4_level(14), iq4_level(15)));
}

struct IQ4_NL : HalvesFormat<BlockIQ4_NL> {
  static constexpr bool kSigned = true;
  static constexpr int kMaximum = 128;
  static Bytes values(const uint8_t* run, int i) { return finish(HalvesFormat::values(run, i)); }
  template <class Wide>
  static Wide finish(Wide v) {
    return look_up(iq4_table(), v);
  }
  static Scales scales(const uint8_t* run, int parts) {
    return small_scales<BlockIQ4_NL>(run, parts);
  }
};

// 2^(x - 128): half of what an e8m0 byte means, as the levels are doubled. The two smallest are
// subnormal; 255 is NaN.
struct HalfPowers {
  uint32_t bits[256];
  constexpr HalfPowers() : bits() {
    for (uint32_t x = 0; x < 255; ++x) bits[x] = x < 2 ? 0x00200000u << x : (x - 1) << 23;
    bits[255] = 0x7fc00000u;
  }
};
constexpr HalfPowers kHalfPowers;

struct MXFP4 : HalvesFormat<BlockMXFP4> {
  static constexpr bool kScaleFirst = false;
  static constexpr int kOffset = 12, kMaximum = 24;
  static constexpr int8_t level(int i) { return static_cast<int8_t>(kFp4HalfLevels[i] + kOffset); }
  static Bytes table() {
    return _mm256_broadcastsi128_si256(_mm_setr_epi8(
        level(0), level(1), level(2), level(3), level(4), level(5), level(6), level(7), level(8),
        level(9), level(10), level(11), level(12), level(13), level(14), level(15)));
  }
  static Bytes values(const uint8_t* run, int i) { return finish(HalvesFormat::values(run, i)); }
  template <class Wide>
  static Wide finish(Wide v) {
    return look_up(table(), v);
  }
  static Scales scales(const uint8_t* run, int parts) {
    alignas(32) uint32_t powers[8] = {};
    for (int i = 0; i < parts; ++i) powers[i] = kHalfPowers.bits[run[i * kBytes]];
    Scales scales;
    scales.scale[0] = _mm256_load_ps(reinterpret_cast<const float*>(powers));
    return scales;
  }
};

inline __m256 floats_of_bytes(__m128i bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

struct SuperFormat {
  static constexpr bool kSuper = true, kSigned = false, kMinimums = false, kHalves = false;
  static constexpr bool kScaleFirst = false;
  static constexpr size_t kFifthBits = 0, kHalfValues = 0;
  static constexpr int kGroup = 32, kOffset = 0;
};

// Two-bit quants (and the upper bits of Q6_K) of values 32 i ..; four_bits: of Q4_K and Q5_K.
inline Bytes two_bits(const uint8_t* quants, int i) {
  const Bytes packed = load_bytes(quants + 32 * (i / 4));
  return _mm256_and_si256(_mm256_srli_epi16(packed, 2 * (i % 4)), _mm256_set1_epi8(3));
}
inline Bytes four_bits(const uint8_t* quants, int i) {
  const Bytes packed = load_bytes(quants + 32 * (i / 2));
  return _mm256_and_si256(i % 2 ? _mm256_srli_epi16(packed, 4) : packed, _mm256_set1_epi8(15));
}
// Bit i of each of 32 bytes, as the number `place` (a power of two: 2 to the `place_bit`).
inline Bytes one_bit(const uint8_t* bits, int i, int place_bit) {
  const Bytes packed = load_bytes(bits);
  const Bytes moved = i >= place_bit ? _mm256_srli_epi16(packed, i - place_bit)
                                     : _mm256_slli_epi16(packed, place_bit - i);
  return _mm256_and_si256(moved, _mm256_set1_epi8(static_cast<char>(1 << place_bit)));
}

struct Q2_K : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockQ2_K);
  static constexpr bool kMinimums = true;
  static constexpr int kGroup = 16, kMaximum = 3;
  static Bytes values(const uint8_t* block, int i) {
    return two_bits(block + offsetof(BlockQ2_K, quants), i);
  }
  static Scales scales(const uint8_t* block, int) {
    const __m128i packed =
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + offsetof(BlockQ2_K, scales)));
    const __m128i low = _mm_and_si128(packed, _mm_set1_epi8(15));
    const __m128i high = _mm_and_si128(_mm_srli_epi16(packed, 4), _mm_set1_epi8(15));
    const __m256 scale = _mm256_set1_ps(f16_at(block + offsetof(BlockQ2_K, scale)));
    const __m256 minimum = _mm256_set1_ps(f16_at(block + offsetof(BlockQ2_K, minimum)));
    Scales scales;
    scales.scale[0] = _mm256_mul_ps(floats_of_bytes(low), scale);
    scales.scale[1] = _mm256_mul_ps(floats_of_bytes(_mm_srli_si128(low, 8)), scale);
    scales.minimum[0] = _mm256_mul_ps(floats_of_bytes(high), minimum);
    scales.minimum[1] = _mm256_mul_ps(floats_of_bytes(_mm_srli_si128(high, 8)), minimum);
    return scales;
  }
};

struct Q3_K : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockQ3_K);
  static constexpr int kGroup = 16, kOffset = 4, kMaximum = 7;
  static Bytes values(const uint8_t* block, int i) {
    return _mm256_or_si256(two_bits(block + offsetof(BlockQ3_K, quants), i),
                           one_bit(block + offsetof(BlockQ3_K, high_bits), i, 2));
  }
  static Scales scales(const uint8_t* block, int) {
    const uint8_t* packed = block + offsetof(BlockQ3_K, scales);
    const uint32_t low0 = load_u32(packed), low1 = load_u32(packed + 4);
    const uint32_t high = load_u32(packed + 8);
    const auto six_bits = [](uint32_t low, uint32_t upper) {
      return static_cast<int>((low & 0x0f0f0f0f) | ((upper & 0x03030303) << 4));
    };
    const __m128i numbers =
        _mm_sub_epi8(_mm_setr_epi32(six_bits(low0, high), six_bits(low1, high >> 2),
                                    six_bits(low0 >> 4, high >> 4), six_bits(low1 >> 4, high >> 6)),
                     _mm_set1_epi8(32));
    const __m256 scale = _mm256_set1_ps(f16_at(block + offsetof(BlockQ3_K, scale)));
    Scales scales;
    scales.scale[0] = _mm256_mul_ps(floats_of_bytes(numbers), scale);
    scales.scale[1] = _mm256_mul_ps(floats_of_bytes(_mm_srli_si128(numbers, 8)), scale);
    return scales;
  }
};

// Eight sub-scales and eight sub-minimums of 6 bits in 12 bytes.
inline Scales six_bit_scales(const uint8_t* packed, __m128 scale_and_minimum) {
  const uint32_t a = load_u32(packed), b = load_u32(packed + 4), c = load_u32(packed + 8);
  const __m128i numbers =
      _mm_setr_epi32(static_cast<int>(a & 0x3f3f3f3f),
                     static_cast<int>((c & 0x0f0f0f0f) | ((a >> 2) & 0x30303030)),
                     static_cast<int>(b & 0x3f3f3f3f),
                     static_cast<int>(((c >> 4) & 0x0f0f0f0f) | ((b >> 2) & 0x30303030)));
  const __m256 scale = _mm256_broadcastss_ps(scale_and_minimum);
  const __m256 minimum = _mm256_broadcastss_ps(_mm_movehdup_ps(scale_and_minimum));
  Scales scales;
  scales.scale[0] = _mm256_mul_ps(floats_of_bytes(numbers), scale);
  scales.minimum[0] = _mm256_mul_ps(floats_of_bytes(_mm_srli_si128(numbers, 8)), minimum);
  return scales;
}

struct Q4_K : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockQ4_K);
  static constexpr size_t kQuants = offsetof(BlockQ4_K, quants), kQuantsStride = 16;
  static constexpr size_t kHalfValues = 32;
  static constexpr bool kMinimums = true;
  static constexpr int kMaximum = 15;
  static Bytes values(const uint8_t* block, int i) { return four_bits(block + kQuants, i); }
  static Scales scales(const uint8_t* block, int) {
    return six_bit_scales(block + offsetof(BlockQ4_K, scales), f16_pair_at(block));
  }
};

struct Q5_K : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockQ5_K);
  static constexpr bool kMinimums = true;
  static constexpr int kMaximum = 31;
  static Bytes values(const uint8_t* block, int i) {
    return _mm256_or_si256(four_bits(block + offsetof(BlockQ5_K, quants), i),
                           one_bit(block + offsetof(BlockQ5_K, high_bits), i, 4));
  }
  static Scales scales(const uint8_t* block, int) {
    return six_bit_scales(block + offsetof(BlockQ5_K, scales), f16_pair_at(block));
  }
};

struct Q6_K : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockQ6_K);
  static constexpr int kGroup = 16, kOffset = 32, kMaximum = 63;
  static Bytes values(const uint8_t* block, int i) {
    // Of each 128 values the first 64 lie in the low halves of 64 bytes, the others in the high.
    const Bytes packed = load_bytes(block + 64 * (i / 4) + 32 * (i % 2));
    const Bytes low =
        _mm256_and_si256(i % 4 >= 2 ? _mm256_srli_epi16(packed, 4) : packed, _mm256_set1_epi8(15));
    const Bytes upper = load_bytes(block + offsetof(BlockQ6_K, high_bits) + 32 * (i / 4));
    const Bytes moved = i % 4 >= 2 ? _mm256_srli_epi16(upper, 2 * (i % 4) - 4)
                                   : _mm256_slli_epi16(upper, 4 - 2 * (i % 4));
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(0x30)));
  }
  static Scales scales(const uint8_t* block, int) {
    const uint8_t* numbers = block + offsetof(BlockQ6_K, scales);
    const __m256 scale = _mm256_set1_ps(f16_at(block + offsetof(BlockQ6_K, scale)));
    const auto eight = [&](const uint8_t* p) {
      return _mm256_mul_ps(floats_of_bytes(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
                           scale);
    };
    Scales scales;
    scales.scale[0] = eight(numbers);
    scales.scale[1] = eight(numbers + 8);
    return scales;
  }
};

struct IQ4_XS : SuperFormat {
  static constexpr size_t kBytes = sizeof(BlockIQ4_XS);
  static constexpr bool kSigned = true, kHalves = true;
  static constexpr int kMaximum = 128;
  static constexpr size_t kQuants = offsetof(BlockIQ4_XS, quants), kQuantsStride = 16;
  static constexpr size_t kHalfValues = 16;
  static Bytes values(const uint8_t* block, int i) {
    return finish(halves(block + kQuants + kQuantsStride * i));
  }
  template <class Wide>
  static Wide finish(Wide v) {
    return look_up(iq4_table(), v);
  }
  static Scales scales(const uint8_t* block, int) {
    const uint64_t low =
        _pdep_u64(load_u32(block + offsetof(BlockIQ4_XS, scales_low)), 0x0f0f0f0f0f0f0f0full);
    const uint64_t high =
        _pdep_u64(load_u16(block + offsetof(BlockIQ4_XS, scales_high)), 0x3030303030303030ull);
    const __m128i numbers =
        _mm_sub_epi8(_mm_cvtsi64_si128(static_cast<int64_t>(low | high)), _mm_set1_epi8(32));
    const __m256 scale = _mm256_set1_ps(f16_at(block));
    Scales scales;
    scales.scale[0] = _mm256_mul_ps(floats_of_bytes(numbers), scale);
    return scales;
  }
};

}  // namespace
