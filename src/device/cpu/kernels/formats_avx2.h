// One part of a run at a time: what integer_gemv.h needs of a register's worth. A body: included by
// the AVX2 kernels.
#pragma once

#include "device/cpu/kernels/formats.h"

namespace {

constexpr int kWideParts = 1;

template <class F>
inline WideInts wide_values(const uint8_t* run, int i, int) {
  return {F::values(run, i)};
}

// Factors of a run: part i has one, or one for each half.
template <class F>
struct WideFactors {
  alignas(32) float all[256 / F::kGroup];
  Floats of(int i) const {
    if (F::kGroup == 32) return {_mm256_broadcast_ss(all + i)};
    return {_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_broadcast_ss(all + 2 * i)),
                                 _mm_broadcast_ss(all + 2 * i + 1), 1)};
  }
};
template <class F>
inline WideFactors<F> wide_factors(__m256 first, __m256 second) {
  WideFactors<F> factors;
  _mm256_store_ps(factors.all, first);
  if (F::kGroup == 16) _mm256_store_ps(factors.all + 128 / F::kGroup, second);
  return factors;
}

}  // namespace
