// One part of a run at a time: what integer_gemv.h needs of a register's worth. A body: included by
// the kernels of 256 bits.
#pragma once

#include "device/cpu/kernels/formats.h"

namespace {

constexpr int kWideSums = 4;  // that registers hold beside a run's values
constexpr int kWideParts = 1;

template <class F>
inline WideInts wide_values(const uint8_t* run, int i, int) {
  return {F::values(run, i)};
}

// The same of HalvesFormat: the 16 bytes of `count` groups, two at most; behind them zeros.
constexpr int kWideGroups = 2;

template <size_t kStride>
inline WideInts wide_quants(const uint8_t* p, int count) {
  const auto group = [p](int i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * kStride));
  };
  const __m256i first = _mm256_zextsi128_si256(group(0));
  return {count > 1 ? _mm256_inserti128_si256(first, group(1), 1) : first};
}
inline WideInts low_halves(WideInts packed) {
  return {_mm256_and_si256(packed.v, _mm256_set1_epi8(15))};
}
inline WideInts high_halves(WideInts packed) {
  return low_halves({_mm256_srli_epi16(packed.v, 4)});
}
inline WideInts add_at_bits(WideInts values, uint64_t bits, int8_t amount) {
  return {add_at_bits(values.v, static_cast<uint32_t>(bits), amount)};
}
inline WideInts look_up(Bytes table, WideInts indices) {
  return {look_up(table, indices.v)};
}

// Factors of a run's 8 groups, or 16, kept so that those of a register's lanes can be had.
template <class F>
struct WideFactors {
  alignas(32) float all[256 / F::kGroup];
  // Register i, where so many lanes behind one another are of one group.
  template <int kLanes>
  Floats of(int i) const {
    if (kLanes == 8) return {_mm256_broadcast_ss(all + i)};
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

// rows[r] word i <-> rows[i] word r.
[[gnu::always_inline]] inline void transpose_words(WideInts (&rows)[8]) {
  Bytes words[8];
  for (int i = 0; i < 8; ++i) words[i] = rows[i].v;
  transpose_words(words);
  for (int i = 0; i < 8; ++i) rows[i].v = words[i];
}

}  // namespace
