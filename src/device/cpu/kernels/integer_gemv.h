// Quantised weights times few tokens: every weight is read once from memory, unpacked in registers
// and multiplied with both digits of each token. A body: included by kernels_*.cpp.
#pragma once

#if defined(__AVX512BW__)
#include "device/cpu/kernels/formats_avx512.h"
#else
#include "device/cpu/kernels/formats_avx2.h"
#endif
#include "device/cpu/kernels/table.h"

namespace {

using namespace hadal::cpu;

// Ahead of the loads, in bytes: what the memory delivers in the time it takes to answer.
constexpr size_t kPrefetchBytes = 4096;

// What kernels subtract from an unsigned byte: VNNI multiplies signed ones as unsigned (dot4).
template <class F>
constexpr int kOffsetOf = F::kSigned ? (kHasVnni ? 128 : 0) : F::kOffset;

// Whether sums of activations are to be subtracted: times a group's minimum, or times its scale and
// the offset.
template <class F>
constexpr bool kSubtracts = F::kMinimums || kOffsetOf<F> != 0;

// A run is 256 values of a row: one block, or eight small ones; a row's last run may have fewer.
template <class F>
constexpr size_t kRunBytes = F::kBytes*(F::kSuper ? 1 : 8);

inline void store_sum(float sum, size_t token, size_t row, const Destination& to) {
  float* out = to.out + token * to.stride + row;
  if (to.bias != nullptr) sum += to.bias[row];
  *out = to.add ? *out + sum : sum;
}

// sums + the sums of four neighbouring products.
template <class F>
inline WideInts add_products(WideInts sums, WideInts weights, const int8_t* digits) {
#if defined(__AVX512VNNI__)
  if (F::kSigned) weights.v = _mm512_xor_si512(weights.v, _mm512_set1_epi8(-128));
  return dot_bytes(sums, weights, load_ints(digits));
#else
  return add_pairs(sums, multiply_bytes<F::kSigned>(weights, load_ints(digits)));
#endif
}

// Two chains of additions, so that one's latency hides behind the other; four tokens are enough.
template <int kTokens>
constexpr int kChains = kTokens > 2 ? 1 : 2;

template <int kTokens>
struct GemvSums {
  Floats products[kTokens][kChains<kTokens>];
  __m256 subtracted[kTokens];
};

// Scales of weights times scales of activations; what is to be subtracted goes to its sum.
template <class F>
inline WideFactors<F> factors_of(const Scales& scales, const DigitTokens& x, size_t run,
                                 __m256& subtracted) {
  const __m256* low = F::kMinimums ? scales.minimum : scales.scale;
  const __m256 scale = _mm256_loadu_ps(x.scales + run * 8);
  if (F::kGroup == 32) {
    if (kSubtracts<F>) {
      subtracted = _mm256_fmadd_ps(low[0], _mm256_loadu_ps(x.sums32 + run * 8), subtracted);
    }
    return wide_factors<F>(_mm256_mul_ps(scales.scale[0], scale), _mm256_setzero_ps());
  }
  if (kSubtracts<F>) {
    const float* sums16 = x.sums16 + run * 16;
    subtracted = _mm256_fmadd_ps(low[0], _mm256_loadu_ps(sums16), subtracted);
    subtracted = _mm256_fmadd_ps(low[1], _mm256_loadu_ps(sums16 + 8), subtracted);
  }
  const __m256 first = _mm256_permutevar8x32_ps(scale, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
  const __m256 second = _mm256_permutevar8x32_ps(scale, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
  return wide_factors<F>(_mm256_mul_ps(scales.scale[0], first),
                         _mm256_mul_ps(scales.scale[1], second));
}

template <class F, int kTokens>
inline void gemv_run(const uint8_t* run, int parts, const DigitTokens& x, size_t first_token,
                     size_t r, GemvSums<kTokens>& sums) {
  const Scales scales = F::scales(run, parts);
  const size_t runs = x.columns / 256;
  WideFactors<F> factors[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    factors[t] = factors_of<F>(scales, x, (first_token + t) * runs + r, sums.subtracted[t]);
  }
#pragma GCC unroll 8
  for (int i = 0; i * kWideParts < parts; ++i) {
    const WideInts values = wide_values<F>(run, i, parts);
    for (int t = 0; t < kTokens; ++t) {
      const size_t at = ((first_token + t) * runs + r) * 256 + i * kWideParts * 32;
      WideInts dot = add_products<F>(zero_ints(), values, x.high + at);
      dot = add_products<F>(shift_left<kDigitBits>(dot), values, x.low + at);
      Floats& sum = sums.products[t][i % kChains<kTokens>];
      sum = multiply_add(to_floats(dot), factors[t].of(i), sum);
    }
  }
}

template <class F, int kTokens>
void gemv_rows(const WeightRows& w, const DigitTokens& x, size_t first_token,
               const Destination& to) {
  for (size_t row = 0; row < w.rows; ++row) {
    GemvSums<kTokens> sums;
    for (int t = 0; t < kTokens; ++t) {
      for (Floats& sum : sums.products[t]) sum = zeros();
      sums.subtracted[t] = _mm256_setzero_ps();
    }
    const uint8_t* run = w.data + row * w.row_bytes;
    const size_t whole = w.row_bytes / kRunBytes<F>;
    for (size_t r = 0; r < whole; ++r, run += kRunBytes<F>) {
      for (size_t line = 0; line < kRunBytes<F>; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(run + kPrefetchBytes + line), _MM_HINT_T0);
      }
      gemv_run<F, kTokens>(run, 8, x, first_token, r, sums);
    }
    if (const size_t left = w.row_bytes % kRunBytes<F>; left != 0) {
      const int parts = static_cast<int>(left / F::kBytes);
      gemv_run<F, kTokens>(run, parts, x, first_token, whole, sums);
    }
    constexpr float kFactor = F::kMinimums ? 1.0f : static_cast<float>(kOffsetOf<F>);
    for (int t = 0; t < kTokens; ++t) {
      Floats products = sums.products[t][0];
      if (kChains<kTokens> == 2) products = products + sums.products[t][kChains<kTokens> - 1];
      __m256 sum = fold(products);
      if (kSubtracts<F>) {
        sum = _mm256_fnmadd_ps(sums.subtracted[t], _mm256_set1_ps(kFactor), sum);
      }
      store_sum(sum8(sum), first_token + t, row, to);
    }
  }
}

template <class F>
void integer_gemv(const WeightRows& w, const DigitTokens& x, size_t tokens, const Destination& to) {
  static_assert(kGemvTokensMax == 4);
  if (tokens == 1) return gemv_rows<F, 1>(w, x, 0, to);
  if (tokens == 2) return gemv_rows<F, 2>(w, x, 0, to);
  if (tokens == 3) return gemv_rows<F, 3>(w, x, 0, to);
  gemv_rows<F, 4>(w, x, 0, to);
}

}  // namespace
