// The vector types of the kernels of 256 bits: AVX2, with AVX-VNNI or without.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

namespace {

// A vector of floats as wide as the instruction set's registers.
struct Floats {
  static constexpr size_t kWidth = 8;
  __m256 v;
};

inline Floats zeros() {
  return {_mm256_setzero_ps()};
}
inline Floats load(const float* p) {
  return {_mm256_loadu_ps(p)};
}
inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
inline Floats operator+(Floats a, Floats b) {
  return {_mm256_add_ps(a.v, b.v)};
}
inline float sum(Floats a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

inline Floats broadcast(float x) {
  return {_mm256_set1_ps(x)};
}

// A register of bytes of any meaning.
struct Bits {
  static constexpr size_t kBytes = 32;
  __m256i v;
};

inline Bits zero_bits() {
  return {_mm256_setzero_si256()};
}
inline Bits load_bits(const void* p) {
  return {_mm256_loadu_si256(static_cast<const __m256i*>(p))};
}
inline Bits exclusive_or(Bits a, Bits b) {
  return {_mm256_xor_si256(a.v, b.v)};
}
inline uint32_t first_word(Bits a) {
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm256_castsi256_si128(a.v)));
}

inline Floats operator*(Floats a, Floats b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
inline void store(float* p, Floats a) {
  _mm256_storeu_ps(p, a.v);
}

// The numbers 2^x, x a whole number in -126 .. 127.
inline Floats power_of_two(Floats x) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(x.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23))};
}
inline Floats round(Floats a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Floats operator-(Floats a, Floats b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
inline Floats operator/(Floats a, Floats b) {
  return {_mm256_div_ps(a.v, b.v)};
}
// The greater one; b where one is NaN.
inline Floats greater(Floats a, Floats b) {
  return {_mm256_max_ps(a.v, b.v)};
}
inline Floats lesser(Floats a, Floats b) {
  return {_mm256_min_ps(a.v, b.v)};
}
// values, and 0 where x is not above the limit.
inline Floats zero_below(Floats values, Floats x, Floats limit) {
  return {_mm256_and_ps(values.v, _mm256_cmp_ps(x.v, limit.v, _CMP_GT_OQ))};
}
// a * b with c subtracted in even lanes and added in odd ones.
inline Floats multiply_subtract_add(Floats a, Floats b, Floats c) {
  return {_mm256_fmaddsub_ps(a.v, b.v, c.v)};
}
inline Floats swap_pairs(Floats a) {
  return {_mm256_permute_ps(a.v, 0xb1)};
}
inline float greatest(Floats a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
inline Floats load_f16(const void* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
inline Floats load_bf16(const void* p) {
  const __m128i halves = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16))};
}
// As many bytes as there are lanes; what lies behind them in the register is undefined.
inline __m128i load_lane_bytes(const void* p) {
  return _mm_loadl_epi64(static_cast<const __m128i*>(p));
}
inline Floats floats_of_signed_bytes(__m128i bytes) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))};
}
inline void store_f16(void* p, Floats a) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
inline __m256 fold(Floats a) {
  return a.v;
}

// As many 32-bit integers as Floats has lanes, also seen as bytes and as 16-bit integers.
struct WideInts {
  __m256i v;
};

inline WideInts zero_ints() {
  return {_mm256_setzero_si256()};
}
inline WideInts broadcast_ints(uint32_t x) {
  return {_mm256_set1_epi32(static_cast<int>(x))};
}
inline WideInts load_ints(const void* p) {
  return {_mm256_load_si256(static_cast<const __m256i*>(p))};
}
template <int kBits>
inline WideInts shift_left(WideInts a) {
  return {_mm256_slli_epi32(a.v, kBits)};
}
inline WideInts add_ints(WideInts a, WideInts b) {
  return {_mm256_add_epi32(a.v, b.v)};
}
inline Floats to_floats(WideInts a) {
  return {_mm256_cvtepi32_ps(a.v)};
}
// Neighbouring products of weights and activations, summed in pairs to 16 bits.
template <bool kSigned>
inline WideInts multiply_bytes(WideInts weights, WideInts activations) {
  if (!kSigned) return {_mm256_maddubs_epi16(weights.v, activations.v)};
  return {
      _mm256_maddubs_epi16(_mm256_abs_epi8(weights.v), _mm256_sign_epi8(activations.v, weights.v))};
}
inline WideInts add16(WideInts a, WideInts b) {
  return {_mm256_add_epi16(a.v, b.v)};
}
// The sums of neighbouring 16-bit integers, times a factor.
inline WideInts sum_pairs(WideInts pairs, int16_t factor) {
  return {_mm256_madd_epi16(pairs.v, _mm256_set1_epi16(factor))};
}

#if defined(__AVXVNNI__)
constexpr bool kHasVnni = true;

// sums + the sums of four neighbouring products. Weights unsigned, or signed, which are multiplied
// as weight + 128.
template <bool kSigned>
inline WideInts dot_bytes(WideInts sums, WideInts weights, WideInts activations) {
  if (kSigned) weights.v = _mm256_xor_si256(weights.v, _mm256_set1_epi8(-128));
  return {_mm256_dpbusd_avx_epi32(sums.v, weights.v, activations.v)};
}

// sums += the sums of four neighbouring products; in place, and where it stands, as the compiler
// moves loads ahead of the intrinsic until the registers overflow.
inline void add_dots(WideInts& sums, WideInts weights, WideInts activations) {
  asm volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums.v) : "x"(weights.v), "x"(activations.v));
}
// Four bytes in every lane.
inline WideInts broadcast_in_place(const int8_t* p) {
  struct FourBytes {
    int8_t of[4];
  };
  WideInts all;
  asm volatile("vpbroadcastd %1, %0" : "=x"(all.v) : "m"(*reinterpret_cast<const FourBytes*>(p)));
  return all;
}

// What byte_tile.h needs to round weights: bytes, words of 16 bits, and of 32.
inline void store_ints(void* p, WideInts a) {
  _mm256_store_si256(static_cast<__m256i*>(p), a.v);
}
inline WideInts to_ints(Floats a) {
  return {_mm256_cvtps_epi32(a.v)};
}
inline Floats absolute(Floats a) {
  return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)};
}
// a with the 32 bits at `p` in one lane, which is known when this is compiled.
[[gnu::always_inline]] inline WideInts replace_lane(WideInts a, size_t lane, const void* p) {
  const __m256i all = _mm256_broadcastd_epi32(_mm_loadu_si32(p));
  switch (lane) {
    case 0:
      return {_mm256_blend_epi32(a.v, all, 1 << 0)};
    case 1:
      return {_mm256_blend_epi32(a.v, all, 1 << 1)};
    case 2:
      return {_mm256_blend_epi32(a.v, all, 1 << 2)};
    case 3:
      return {_mm256_blend_epi32(a.v, all, 1 << 3)};
    case 4:
      return {_mm256_blend_epi32(a.v, all, 1 << 4)};
    case 5:
      return {_mm256_blend_epi32(a.v, all, 1 << 5)};
    case 6:
      return {_mm256_blend_epi32(a.v, all, 1 << 6)};
    default:
      return {_mm256_blend_epi32(a.v, all, 1 << 7)};
  }
}
// Of f16 in the low halves of lanes.
inline Floats floats_of_low_f16(WideInts a) {
  const __m256i low = _mm256_and_si256(a.v, _mm256_set1_epi32(0xffff));
  const __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves))};
}
// The low 16 bits of each 32, in both halves.
inline WideInts twice_in_16_bits(WideInts a) {
  return {_mm256_blend_epi16(a.v, _mm256_slli_epi32(a.v, 16), 0xaa)};
}
inline WideInts broadcast8(int8_t x) {
  return {_mm256_set1_epi8(x)};
}
inline WideInts subtract8(WideInts a, WideInts b) {
  return {_mm256_sub_epi8(a.v, b.v)};
}
inline WideInts both_bits(WideInts a, WideInts b) {
  return {_mm256_and_si256(a.v, b.v)};
}
// a's bits where `mask` has ones, b's elsewhere.
inline WideInts choose_bits(WideInts mask, WideInts a, WideInts b) {
  return {_mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(a.v, b.v), mask.v), b.v)};
}
// (a & mask) ^ b
inline WideInts masked_exclusive_or(WideInts a, WideInts mask, WideInts b) {
  return {_mm256_xor_si256(_mm256_and_si256(a.v, mask.v), b.v)};
}
template <int kBits>
inline WideInts shift_left16(WideInts a) {
  return {_mm256_slli_epi16(a.v, kBits)};
}
template <int kBits>
inline WideInts shift_right16(WideInts a) {
  return {_mm256_srli_epi16(a.v, kBits)};
}
// The sign is kept.
template <int kBits>
inline WideInts shift_right(WideInts a) {
  return {_mm256_srai_epi32(a.v, kBits)};
}
// a * b / 2^15, rounded.
inline WideInts multiply_rounded16(WideInts a, WideInts b) {
  return {_mm256_mulhrs_epi16(a.v, b.v)};
}
#else
constexpr bool kHasVnni = false;

template <bool kSigned>
inline WideInts dot_bytes(WideInts sums, WideInts weights, WideInts activations) {
  return add_ints(sums, sum_pairs(multiply_bytes<kSigned>(weights, activations), 1));
}
#endif

// A panel of floats is so many vectors wide, and one of integers; so many tokens are multiplied at
// once. With 16 registers: of integers the sums in 32 bits and what is multiplied; without VNNI
// four sums in 16 bits, in 32 and in floats, and two vectors wide, as an outlier's step is found
// once for all.
constexpr int kPanelVectors = 1, kTileTokens = 4;
#if defined(__AVXVNNI__)
constexpr int kIntegerVectors = 2, kIntegerTokens = 6;
#else
constexpr int kIntegerVectors = 2, kIntegerTokens = 2;
#endif

}  // namespace
