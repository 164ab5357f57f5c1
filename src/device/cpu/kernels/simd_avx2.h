// The vector types of the AVX2 kernels. Included by kernels_avx2.cpp alone.
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

}  // namespace
