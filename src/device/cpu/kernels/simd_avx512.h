// The vector types of the AVX-512 kernels. Included by the AVX-512 kernels.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 sees the "undefined" registers of its own AVX-512 header as mistakes of the caller.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

namespace {

// A vector of floats as wide as the instruction set's registers.
struct Floats {
  static constexpr size_t kWidth = 16;
  __m512 v;
};

inline Floats zeros() {
  return {_mm512_setzero_ps()};
}
inline Floats load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline Floats operator+(Floats a, Floats b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline float sum(Floats a) {
  return _mm512_reduce_add_ps(a.v);
}

inline Floats broadcast(float x) {
  return {_mm512_set1_ps(x)};
}

// A register of bytes of any meaning.
struct Bits {
  static constexpr size_t kBytes = 64;
  __m512i v;
};

inline Bits zero_bits() {
  return {_mm512_setzero_si512()};
}
inline Bits load_bits(const void* p) {
  return {_mm512_loadu_si512(p)};
}
inline Bits exclusive_or(Bits a, Bits b) {
  return {_mm512_xor_si512(a.v, b.v)};
}
inline uint32_t first_word(Bits a) {
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm512_castsi512_si128(a.v)));
}

inline Floats operator*(Floats a, Floats b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline void store(float* p, Floats a) {
  _mm512_storeu_ps(p, a.v);
}

// The numbers 2^x, x a whole number in -126 .. 127.
inline Floats power_of_two(Floats x) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(x.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}
inline Floats round(Floats a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Floats operator-(Floats a, Floats b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Floats operator/(Floats a, Floats b) {
  return {_mm512_div_ps(a.v, b.v)};
}
// The greater one; b where one is NaN.
inline Floats greater(Floats a, Floats b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline Floats lesser(Floats a, Floats b) {
  return {_mm512_min_ps(a.v, b.v)};
}
// values, and 0 where x is not above the limit.
inline Floats zero_below(Floats values, Floats x, Floats limit) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_GT_OQ), values.v)};
}
// a * b with c subtracted in even lanes and added in odd ones.
inline Floats multiply_subtract_add(Floats a, Floats b, Floats c) {
  return {_mm512_fmaddsub_ps(a.v, b.v, c.v)};
}
inline Floats swap_pairs(Floats a) {
  return {_mm512_permute_ps(a.v, 0xb1)};
}
inline float greatest(Floats a) {
  return _mm512_reduce_max_ps(a.v);
}
inline Floats load_f16(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
inline Floats load_bf16(const void* p) {
  const __m256i halves = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
}
// As many bytes as there are lanes.
inline __m128i load_lane_bytes(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
inline Floats floats_of_signed_bytes(__m128i bytes) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
inline void store_f16(void* p, Floats a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
// Eight sums of two lanes.
inline __m256 fold(Floats a) {
  return _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
}

// As many 32-bit integers as Floats has lanes, also seen as bytes and as 16-bit integers.
struct WideInts {
  __m512i v;
};

inline WideInts zero_ints() {
  return {_mm512_setzero_si512()};
}
inline WideInts broadcast_ints(uint32_t x) {
  return {_mm512_set1_epi32(static_cast<int>(x))};
}
inline WideInts load_ints(const void* p) {
  return {_mm512_load_si512(p)};
}
template <int kBits>
inline WideInts shift_left(WideInts a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
inline WideInts add_ints(WideInts a, WideInts b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
inline Floats to_floats(WideInts a) {
  return {_mm512_cvtepi32_ps(a.v)};
}
// Neighbouring products of weights and activations, summed in pairs to 16 bits.
template <bool kSigned>
inline WideInts multiply_bytes(WideInts weights, WideInts activations) {
  if (!kSigned) return {_mm512_maddubs_epi16(weights.v, activations.v)};
  const __mmask64 negative = _mm512_movepi8_mask(weights.v);
  const __m512i turned =
      _mm512_mask_sub_epi8(activations.v, negative, _mm512_setzero_si512(), activations.v);
  return {_mm512_maddubs_epi16(_mm512_abs_epi8(weights.v), turned)};
}
inline WideInts add16(WideInts a, WideInts b) {
  return {_mm512_add_epi16(a.v, b.v)};
}
// The sums of neighbouring 16-bit integers, times a factor.
inline WideInts sum_pairs(WideInts pairs, int16_t factor) {
  return {_mm512_madd_epi16(pairs.v, _mm512_set1_epi16(factor))};
}

#if defined(__AVX512VNNI__)
constexpr bool kHasVnni = true;

// sums + the sums of four neighbouring products. Weights unsigned, or signed, which are multiplied
// as weight + 128.
template <bool kSigned>
inline WideInts dot_bytes(WideInts sums, WideInts weights, WideInts activations) {
  if (kSigned) weights.v = _mm512_xor_si512(weights.v, _mm512_set1_epi8(-128));
  return {_mm512_dpbusd_epi32(sums.v, weights.v, activations.v)};
}

// sums += the sums of four neighbouring products. In place, and where it stands: g++ 12 copies the
// sums of the intrinsic, and moves loads ahead of the products until the registers overflow, which
// costs a fifth of a loop of nothing else.
inline void add_dots(WideInts& sums, WideInts weights, WideInts activations) {
  asm volatile("vpdpbusd %2, %1, %0" : "+v"(sums.v) : "v"(weights.v), "v"(activations.v));
}
// sums += a * b of the low 16 bits of each lane, where b's high ones are 0.
inline void add_low_products(WideInts& sums, WideInts a, WideInts b) {
  asm volatile("vpdpwssd %2, %1, %0" : "+v"(sums.v) : "v"(a.v), "v"(b.v));
}
inline WideInts subtract_ints(WideInts a, WideInts b) {
  return {_mm512_sub_epi32(a.v, b.v)};
}
// Four bytes in every lane.
inline WideInts broadcast_in_place(const int8_t* p) {
  struct FourBytes {
    int8_t of[4];
  };
  WideInts all;
  asm volatile("vpbroadcastd %1, %0" : "=v"(all.v) : "m"(*reinterpret_cast<const FourBytes*>(p)));
  return all;
}

// What byte_tile.h needs to round weights: bytes, words of 16 bits, and of 32.
inline void store_ints(void* p, WideInts a) {
  _mm512_store_si512(p, a.v);
}
inline WideInts to_ints(Floats a) {
  return {_mm512_cvtps_epi32(a.v)};
}
inline Floats absolute(Floats a) {
  return {_mm512_abs_ps(a.v)};
}
// a with the 32 bits at `p` in one lane.
inline WideInts replace_lane(WideInts a, size_t lane, const void* p) {
  return {_mm512_mask_broadcastd_epi32(a.v, static_cast<__mmask16>(1u << lane), _mm_loadu_si32(p))};
}
// Of f16 in the low halves of lanes.
inline Floats floats_of_low_f16(WideInts a) {
  return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a.v))};
}
// The low 16 bits of each 32, in both halves.
inline WideInts twice_in_16_bits(WideInts a) {
  const __m512i low = _mm512_and_si512(a.v, _mm512_set1_epi32(0xffff));
  return {_mm512_or_si512(low, _mm512_slli_epi32(a.v, 16))};
}
inline WideInts broadcast8(int8_t x) {
  return {_mm512_set1_epi8(x)};
}
inline WideInts subtract8(WideInts a, WideInts b) {
  return {_mm512_sub_epi8(a.v, b.v)};
}
inline WideInts both_bits(WideInts a, WideInts b) {
  return {_mm512_and_si512(a.v, b.v)};
}
// a's bits where `mask` has ones, b's elsewhere.
inline WideInts choose_bits(WideInts mask, WideInts a, WideInts b) {
  return {_mm512_ternarylogic_epi32(mask.v, a.v, b.v, 0xca)};
}
// (a & mask) ^ b
inline WideInts masked_exclusive_or(WideInts a, WideInts mask, WideInts b) {
  return {_mm512_ternarylogic_epi32(a.v, mask.v, b.v, 0x6a)};
}
template <int kBits>
inline WideInts shift_left16(WideInts a) {
  return {_mm512_slli_epi16(a.v, kBits)};
}
template <int kBits>
inline WideInts shift_right16(WideInts a) {
  return {_mm512_srli_epi16(a.v, kBits)};
}
// The sign is kept.
template <int kBits>
inline WideInts shift_right(WideInts a) {
  return {_mm512_srai_epi32(a.v, kBits)};
}
// a * b / 2^15, rounded.
inline WideInts multiply_rounded16(WideInts a, WideInts b) {
  return {_mm512_mulhrs_epi16(a.v, b.v)};
}
#else
constexpr bool kHasVnni = false;

template <bool kSigned>
inline WideInts dot_bytes(WideInts sums, WideInts weights, WideInts activations) {
  return add_ints(sums, sum_pairs(multiply_bytes<kSigned>(weights, activations), 1));
}
#endif

// A panel of floats is so many vectors wide, and one of integers; so many tokens are multiplied at
// once. With 32 registers: of floats the sums and what is multiplied; of integers sums in 32 bits
// and, where these are taken to floats after each group, in floats too (without VNNI in 16 bits
// besides).
constexpr int kPanelVectors = 2;
#if defined(__AVX512VNNI__)
constexpr int kTileTokens = 6, kIntegerVectors = 4, kIntegerTokens = 6;
#else
constexpr int kTileTokens = 4, kIntegerVectors = 2, kIntegerTokens = 4;
#endif

}  // namespace
