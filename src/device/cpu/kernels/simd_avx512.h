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

}  // namespace
