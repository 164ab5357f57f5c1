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

// What kernels subtract from an unsigned byte: VNNI multiplies signed ones as unsigned (dot_bytes).
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

// Pairs of products of bytes are summed in 16 bits where there is no VNNI: so many pairs fit.
template <class F>
constexpr int kSumsIn16Bits = F::kSigned ? 1 : 32767 / (2 * 127 * F::kMaximum);

// Registers of weights times both digits, which lie `stride` apart for each next register: sums of
// four neighbouring products, of all registers.
template <class F, int kCount>
inline WideInts dot_digits(const WideInts (&weights)[kCount], const int8_t* high, const int8_t* low,
                           size_t stride) {
  if constexpr (kHasVnni) {
    WideInts dot = zero_ints();
    for (int i = 0; i < kCount; ++i) {
      dot = dot_bytes<F::kSigned>(dot, weights[i], load_ints(high + i * stride));
    }
    dot = shift_left<kDigitBits>(dot);
    for (int i = 0; i < kCount; ++i) {
      dot = dot_bytes<F::kSigned>(dot, weights[i], load_ints(low + i * stride));
    }
    return dot;
  } else {
    WideInts dots[2];
    for (int digit = 0; digit < 2; ++digit) {
      const int8_t* digits = digit == 0 ? high : low;
      const auto factor = static_cast<int16_t>(digit == 0 ? 1 << kDigitBits : 1);
      WideInts pairs[kCount];
      for (int i = 0; i < kCount; ++i) {
        pairs[i] = multiply_bytes<F::kSigned>(weights[i], load_ints(digits + i * stride));
      }
      if (kSumsIn16Bits<F> >= kCount) {
        for (int i = 1; i < kCount; ++i) pairs[0] = add16(pairs[0], pairs[i]);
        dots[digit] = sum_pairs(pairs[0], factor);
      } else {
        dots[digit] = sum_pairs(pairs[0], factor);
        for (int i = 1; i < kCount; ++i) {
          dots[digit] = add_ints(dots[digit], sum_pairs(pairs[i], factor));
        }
      }
    }
    return add_ints(dots[0], dots[1]);
  }
}

// So many rows at once, as registers hold their sums: a token's digits are then loaded once for
// all, and rows' sums across lanes are taken together.
constexpr int kGemvRowsMost = 4;
template <int kTokens>
constexpr int kGemvRows = kWideSums / kTokens < kGemvRowsMost ? kWideSums / kTokens : kGemvRowsMost;

template <int kRows, int kTokens>
struct GemvSums {
  Floats products[kRows][kTokens];
  __m256 subtracted[kRows][kTokens];
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

// The low and the high halves of four groups (two), which meet digits in crossed order.
template <class F>
inline void wide_halves(const uint8_t* run, int first, int count, WideInts (&halves)[2]) {
  const WideInts packed = wide_quants<F::kQuantsStride>(
      run + F::kQuants + static_cast<size_t>(first) * F::kQuantsStride, count);
  halves[0] = low_halves(packed);
  halves[1] = high_halves(packed);
  if constexpr (F::kFifthBits != 0) {
    const uint8_t* bits = run + static_cast<size_t>(first) * F::kBytes + F::kFifthBits;
    halves[0] = add_at_bits(halves[0], four_u16<F::kBytes>(bits, count), 16);
    halves[1] = add_at_bits(halves[1], four_u16<F::kBytes>(bits + 2, count), 16);
  }
  halves[0] = F::finish(halves[0]);
  halves[1] = F::finish(halves[1]);
}

// Run r of several rows, which lies `offset` behind the start of each.
template <class F, int kRows, int kTokens>
[[gnu::always_inline]] inline void gemv_run(const uint8_t* const (&rows)[kRows], size_t offset,
                                            int parts, const Stream& stream, const DigitTokens& x,
                                            size_t first_token, size_t r,
                                            GemvSums<kRows, kTokens>& sums) {
  const size_t runs = x.columns / 256;
  WideFactors<F> factors[kRows][kTokens];
  for (int row = 0; row < kRows; ++row) {
    stream.follow(rows[row] + offset, parts == 8 ? kRunBytes<F> : parts * F::kBytes);
    const Scales scales = F::scales(rows[row] + offset, parts);
    for (int t = 0; t < kTokens; ++t) {
      factors[row][t] =
          factors_of<F>(scales, x, (first_token + t) * runs + r, sums.subtracted[row][t]);
    }
  }
  const auto place = [&](int t, size_t group) {
    return ((first_token + t) * runs + r) * 256 + (F::kHalves ? crossed_place(group) : group * 32);
  };
  if constexpr (F::kHalves) {
    constexpr size_t kHigh = 64;
#pragma GCC unroll 4
    for (int i = 0; i * kWideGroups < parts; ++i) {
      const int first = i * kWideGroups;
      for (int row = 0; row < kRows; ++row) {
        WideInts values[2];
        wide_halves<F>(rows[row] + offset, first, parts - first, values);
        for (int t = 0; t < kTokens; ++t) {
          const size_t at = place(t, first);
          const WideInts dot =
              dot_digits<F>(values, x.crossed_high + at, x.crossed_low + at, kHigh);
          Floats& sum = sums.products[row][t];
          sum = multiply_add(to_floats(dot), factors[row][t].template of<4>(i), sum);
        }
      }
    }
  } else {
#pragma GCC unroll 8
    for (int i = 0; i * kWideParts < parts; ++i) {
      for (int row = 0; row < kRows; ++row) {
        const WideInts values[1] = {wide_values<F>(rows[row] + offset, i, parts)};
        for (int t = 0; t < kTokens; ++t) {
          const size_t at = place(t, i * kWideParts);
          const WideInts dot = dot_digits<F>(values, x.high + at, x.low + at, 0);
          Floats& sum = sums.products[row][t];
          sum = multiply_add(to_floats(dot), factors[row][t].template of<F::kGroup / 4>(i), sum);
        }
      }
    }
  }
}

// A run cut short. Apart, and by value, so that the sums of whole ones can stay in registers.
template <class F, int kRows, int kTokens>
[[gnu::noinline]] GemvSums<kRows, kTokens> gemv_part(const uint8_t* const (&rows)[kRows],
                                                     size_t offset, int parts, const Stream& stream,
                                                     const DigitTokens& x, size_t first_token,
                                                     size_t r, GemvSums<kRows, kTokens> sums) {
  gemv_run<F>(rows, offset, parts, stream, x, first_token, r, sums);
  return sums;
}

template <class F, int kTokens>
void gemv_rows(const WeightRows& w, const DigitTokens& x, size_t first_token,
               const Destination& to) {
  constexpr int kRows = kGemvRows<kTokens>;
  const Stream stream(w.data, w.rows * w.row_bytes);
  for (size_t first = 0; first < w.rows; first += kRows) {
    const uint8_t* rows[kRows];
    GemvSums<kRows, kTokens> sums;
    for (int row = 0; row < kRows; ++row) {
      // Behind the last row that one stands in, and nobody reads the result.
      rows[row] = w.data + (first + row < w.rows ? first + row : w.rows - 1) * w.row_bytes;
      for (int t = 0; t < kTokens; ++t) {
        sums.products[row][t] = zeros();
        sums.subtracted[row][t] = _mm256_setzero_ps();
      }
    }
    const size_t whole = w.row_bytes / kRunBytes<F>;
    for (size_t r = 0; r < whole; ++r) {
      gemv_run<F>(rows, r * kRunBytes<F>, 8, stream, x, first_token, r, sums);
    }
    if constexpr (!F::kSuper) {
      const size_t behind = whole * kRunBytes<F>, left = w.row_bytes - behind;
      if (left == 4 * F::kBytes) {  // widths are multiples of 128 more often than not
        gemv_run<F>(rows, behind, 4, stream, x, first_token, whole, sums);
      } else if (left != 0) {
        sums = gemv_part<F>(rows, behind, static_cast<int>(left / F::kBytes), stream, x,
                            first_token, whole, sums);
      }
    }
    const size_t count = w.rows - first < kRows ? w.rows - first : kRows;
    constexpr float kFactor = F::kMinimums ? 1.0f : static_cast<float>(kOffsetOf<F>);
    for (int t = 0; t < kTokens; ++t) {
      __m256 lanes[4] = {};
      for (int row = 0; row < kRows; ++row) {
        lanes[row] = fold(sums.products[row][t]);
        if (kSubtracts<F>) {
          lanes[row] =
              _mm256_fnmadd_ps(sums.subtracted[row][t], _mm256_set1_ps(kFactor), lanes[row]);
        }
      }
      alignas(16) float four[4];
      _mm_store_ps(four, sum_of_four(lanes[0], lanes[1], lanes[2], lanes[3]));
      for (size_t row = 0; row < count; ++row) {
        store_sum(four[row], first_token + t, first + row, to);
      }
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
