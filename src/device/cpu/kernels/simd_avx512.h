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
// sums + the sums of neighbouring 16-bit integers
inline WideInts add_pairs(WideInts sums, WideInts pairs) {
  return {_mm512_add_epi32(sums.v, _mm512_madd_epi16(pairs.v, _mm512_set1_epi16(1)))};
}

#if defined(__AVX512VNNI__)
inline WideInts dot_bytes(WideInts sums, WideInts weights, WideInts activations) {
  return {_mm512_dpbusd_epi32(sums.v, weights.v, activations.v)};
}
#endif

// A panel of weights is so many vectors wide; so many tokens are multiplied at once. With 32
// registers: sums in 32 bits and in floats (without VNNI in 16 bits too), and what is multiplied.
constexpr int kPanelVectors = 2;
#if defined(__AVX512VNNI__)
constexpr int kTileTokens = 6;
#else
constexpr int kTileTokens = 4;
#endif

}  // namespace
