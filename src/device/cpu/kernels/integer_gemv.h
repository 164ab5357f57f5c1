// Quantised weights times few tokens: every weight is read once from memory, unpacked in registers
// and multiplied with both digits of each token. A body: included by kernels_*.cpp.
#pragma once

#include "device/cpu/kernels/formats.h"
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

// Factor of 32 values of a run: of their one group, or of its two halves.
template <class F>
inline __m256 factor_of(const float* factors, int i) {
  if (F::kGroup == 32) return _mm256_broadcast_ss(factors + i);
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_broadcast_ss(factors + 2 * i)),
                              _mm_broadcast_ss(factors + 2 * i + 1), 1);
}

// Two chains of additions, so that one's latency hides behind the other; four tokens are enough.
template <int kTokens>
constexpr int kChains = kTokens > 2 ? 1 : 2;

template <int kTokens>
struct GemvSums {
  __m256 products[kTokens][kChains<kTokens>];
  __m256 subtracted[kTokens];
};

template <class F, int kTokens>
inline void gemv_run(const uint8_t* run, int parts, const DigitTokens& x, size_t first_token,
                     size_t r, GemvSums<kTokens>& sums) {
  const Scales scales = F::scales(run, parts);
  const __m256* low = F::kMinimums ? scales.minimum : scales.scale;
  alignas(32) float factors[kTokens][256 / F::kGroup];
  for (int t = 0; t < kTokens; ++t) {
    const size_t at = (first_token + t) * (x.columns / 256) + r;
    const __m256 scale = _mm256_loadu_ps(x.scales + at * 8);
    if (F::kGroup == 32) {
      _mm256_store_ps(factors[t], _mm256_mul_ps(scales.scale[0], scale));
      if (kSubtracts<F>) {
        sums.subtracted[t] =
            _mm256_fmadd_ps(low[0], _mm256_loadu_ps(x.sums32 + at * 8), sums.subtracted[t]);
      }
    } else {
      const __m256 first =
          _mm256_permutevar8x32_ps(scale, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
      const __m256 second =
          _mm256_permutevar8x32_ps(scale, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
      _mm256_store_ps(factors[t], _mm256_mul_ps(scales.scale[0], first));
      _mm256_store_ps(factors[t] + 128 / F::kGroup, _mm256_mul_ps(scales.scale[1], second));
      if (kSubtracts<F>) {
        const float* sums16 = x.sums16 + at * 16;
        __m256& sum = sums.subtracted[t];
        sum = _mm256_fmadd_ps(low[0], _mm256_loadu_ps(sums16), sum);
        sum = _mm256_fmadd_ps(low[1], _mm256_loadu_ps(sums16 + 8), sum);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < parts; ++i) {
    const Bytes values = F::values(run, i);
    for (int t = 0; t < kTokens; ++t) {
      const size_t at = (first_token + t) * x.columns + r * 256 + i * 32;
      Words dot = dot4<F::kSigned>(values, load_bytes(x.high + at), _mm256_setzero_si256());
      dot = _mm256_slli_epi32(dot, kDigitBits);
      dot = dot4<F::kSigned>(values, load_bytes(x.low + at), dot);
      __m256& sum = sums.products[t][i % kChains<kTokens>];
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), factor_of<F>(factors[t], i), sum);
    }
  }
}

template <class F, int kTokens>
void gemv_rows(const WeightRows& w, const DigitTokens& x, size_t first_token,
               const Destination& to) {
  for (size_t row = 0; row < w.rows; ++row) {
    GemvSums<kTokens> sums;
    for (int t = 0; t < kTokens; ++t) {
      for (__m256& sum : sums.products[t]) sum = _mm256_setzero_ps();
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
      __m256 sum = sums.products[t][0];
      if (kChains<kTokens> == 2) sum = _mm256_add_ps(sum, sums.products[t][kChains<kTokens> - 1]);
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
