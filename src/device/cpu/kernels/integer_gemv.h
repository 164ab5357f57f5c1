// Quantised weights times few tokens: every weight is read once from memory, unpacked in registers
// and multiplied with each token's int8. A body: included by kernels_*.cpp.
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

inline void store_sum(float sum, size_t token, size_t row, const Destination& to) {
  const bool second = to.pairs && token % 2 == 1;
  float* out = to.out + (to.pairs ? token / 2 : token) * to.stride + row;
  if (to.bias != nullptr && !second) sum += to.bias[row];
  *out = to.add || second ? *out + sum : sum;
}

template <class F, int kTokens>
void gemv_row_small(const uint8_t* row, const Int8Tokens& x, size_t first_token, size_t r,
                    const Destination& to) {
  const size_t blocks = x.columns / 32;
  __m256 sums[kTokens];
  __m128 minimums[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    sums[t] = _mm256_setzero_ps();
    minimums[t] = _mm_setzero_ps();
  }
  for (size_t b = 0; b < blocks; ++b) {
    const uint8_t* block = row + b * F::kBytes;
    _mm_prefetch(reinterpret_cast<const char*>(block + kPrefetchBytes), _MM_HINT_T0);
    const Bytes values = F::values(block);
    const __m128 scale = F::scale(block);
    for (int t = 0; t < kTokens; ++t) {
      const size_t at = (first_token + t) * blocks + b;
      Words start = _mm256_setzero_si256();
      if (kOffsetOf<F> != 0) {
        start = _mm256_zextsi128_si256(_mm_cvtsi32_si128(x.offsets[at]));
      }
      const Words dot = dot4<F::kSigned>(values, load_bytes(x.values + at * 32), start);
      __m128 factor = _mm_mul_ss(scale, _mm_load_ss(x.scales + at));
      sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_broadcastss_ps(factor), sums[t]);
      if (F::kMinimums) {
        minimums[t] = _mm_fmadd_ss(_mm_movehdup_ps(scale), _mm_load_ss(x.sums32 + at), minimums[t]);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    store_sum(sum8(sums[t]) + _mm_cvtss_f32(minimums[t]), first_token + t, r, to);
  }
}

// Factor of group pair i of a super block: of its one group, or of its two halves.
template <class F>
inline __m256 factor_of(const float* factors, int i) {
  if (F::kGroup == 32) return _mm256_broadcast_ss(factors + i);
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_broadcast_ss(factors + 2 * i)),
                              _mm_broadcast_ss(factors + 2 * i + 1), 1);
}

template <class F, int kTokens>
void gemv_row_super(const uint8_t* row, const Int8Tokens& x, size_t first_token, size_t r,
                    const Destination& to) {
  const size_t blocks = x.columns / 256;
  constexpr bool kSubtracts = F::kMinimums || kOffsetOf<F> != 0;
  __m256 sums[kTokens], minimums[kTokens];
  for (int t = 0; t < kTokens; ++t) sums[t] = minimums[t] = _mm256_setzero_ps();
  for (size_t b = 0; b < blocks; ++b) {
    const uint8_t* block = row + b * F::kBytes;
    for (size_t line = 0; line < F::kBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(block + kPrefetchBytes + line), _MM_HINT_T0);
    }
    const Scales scales = F::scales(block);
    // An offset is a minimum that is the offset times the scale.
    const __m256* low = F::kMinimums ? scales.minimum : scales.scale;
    alignas(32) float factors[kTokens][256 / F::kGroup];
    for (int t = 0; t < kTokens; ++t) {
      const size_t at = (first_token + t) * blocks + b;
      const __m256 scale = _mm256_loadu_ps(x.scales + at * 8);
      if (F::kGroup == 32) {
        _mm256_store_ps(factors[t], _mm256_mul_ps(scales.scale[0], scale));
        if (kSubtracts) {
          minimums[t] = _mm256_fmadd_ps(low[0], _mm256_loadu_ps(x.sums32 + at * 8), minimums[t]);
        }
      } else {
        const __m256 first =
            _mm256_permutevar8x32_ps(scale, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
        const __m256 second =
            _mm256_permutevar8x32_ps(scale, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
        _mm256_store_ps(factors[t], _mm256_mul_ps(scales.scale[0], first));
        _mm256_store_ps(factors[t] + 128 / F::kGroup, _mm256_mul_ps(scales.scale[1], second));
        if (kSubtracts) {
          const float* sums16 = x.sums16 + at * 16;
          minimums[t] = _mm256_fmadd_ps(low[0], _mm256_loadu_ps(sums16), minimums[t]);
          minimums[t] = _mm256_fmadd_ps(low[1], _mm256_loadu_ps(sums16 + 8), minimums[t]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const Bytes values = F::values(block, i);
      for (int t = 0; t < kTokens; ++t) {
        const int8_t* activations = x.values + (first_token + t) * x.columns + b * 256 + i * 32;
        const Words dot = dot4<F::kSigned>(values, load_bytes(activations), _mm256_setzero_si256());
        sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), factor_of<F>(factors[t], i), sums[t]);
      }
    }
  }
  constexpr float kMinimumFactor = F::kMinimums ? 1.0f : static_cast<float>(kOffsetOf<F>);
  for (int t = 0; t < kTokens; ++t) {
    float sum = sum8(sums[t]);
    if (kSubtracts) sum -= kMinimumFactor * sum8(minimums[t]);
    store_sum(sum, first_token + t, r, to);
  }
}

template <class F, int kTokens>
void gemv_rows(const WeightRows& w, const Int8Tokens& x, size_t first_token,
               const Destination& to) {
  for (size_t r = 0; r < w.rows; ++r) {
    const uint8_t* row = w.data + r * w.row_bytes;
    if constexpr (F::kSuper) {
      gemv_row_super<F, kTokens>(row, x, first_token, r, to);
    } else {
      gemv_row_small<F, kTokens>(row, x, first_token, r, to);
    }
  }
}

template <class F>
void integer_gemv(const WeightRows& w, const Int8Tokens& x, size_t tokens, const Destination& to) {
  static_assert(kGemvTokensMax == 4);
  if (tokens == 1) return gemv_rows<F, 1>(w, x, 0, to);
  if (tokens == 2) return gemv_rows<F, 2>(w, x, 0, to);
  if (tokens == 3) return gemv_rows<F, 3>(w, x, 0, to);
  gemv_rows<F, 4>(w, x, 0, to);
}

}  // namespace
