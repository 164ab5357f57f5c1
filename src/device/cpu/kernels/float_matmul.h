// Weights that are plain numbers (F32, F16, BF16, FP8) times float activations. A body: included by
// kernels_*.cpp after their vector types.
#pragma once

#include "device/cpu/kernels/bytes.h"
#include "device/cpu/kernels/integer_gemv.h"
#include "device/cpu/kernels/table.h"
#include "device/cpu/kernels/tile.h"

namespace {

using namespace hadal::cpu;

// A format: kBytes of a value, eight of them (`load8`), or one, as floats.
struct F32 {
  static constexpr size_t kBytes = 4;
  static __m256 load8(const uint8_t* p) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
};

struct F16 {
  static constexpr size_t kBytes = 2;
  static __m256 load8(const uint8_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};

struct BF16 {
  static constexpr size_t kBytes = 2;
  static __m256 load8(const uint8_t* p) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
};

struct F8 {
  static constexpr size_t kBytes = 1;
  // Moved to an f16's place an e4m3 has the right bits and a bias of 15 where it means 7: all, also
  // subnormals, come out 2^8 too small. S.1111.111 is NaN.
  static __m256 load8(const uint8_t* p) {
    const __m128i words = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m128i magnitude = _mm_and_si128(words, _mm_set1_epi16(0x7f));
    const __m128i sign = _mm_slli_epi16(_mm_andnot_si128(_mm_set1_epi16(0x7f), words), 8);
    const __m128i nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7f));
    const __m128i half = _mm_or_si128(_mm_or_si128(_mm_slli_epi16(magnitude, 7), sign),
                                      _mm_and_si128(nan, _mm_set1_epi16(0x7e00)));
    return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0f));
  }
};

// The last values of a row, fewer than eight: nothing behind them may be read.
template <class F>
inline __m256 load_some(const uint8_t* p, size_t count) {
  alignas(32) uint8_t copy[8 * F::kBytes] = {};
  memcpy(copy, p, count * F::kBytes);
  return F::load8(copy);
}

template <class F>
inline __m256 load8_or_some(const uint8_t* p, size_t count) {
  return count == 8 ? F::load8(p) : load_some<F>(p, count);
}

inline __m256 load_some_floats(const float* p, size_t count) {
  alignas(32) float copy[8] = {};
  memcpy(copy, p, count * sizeof(float));
  return _mm256_load_ps(copy);
}

// One row, columns [first, last): sums[t] += weights * activations, two chains a token.
template <class F, int kTokens>
inline void gemv_columns(const uint8_t* row, const float* const (&x)[kTokens], size_t first,
                         size_t last, const Stream& stream, __m256 (&sums)[kTokens][2]) {
  size_t c = first;
  for (; c + 16 <= last; c += 16) {
    stream.follow(row + c * F::kBytes, 16 * F::kBytes);
    const __m256 w0 = F::load8(row + c * F::kBytes), w1 = F::load8(row + (c + 8) * F::kBytes);
    for (int t = 0; t < kTokens; ++t) {
      sums[t][0] = _mm256_fmadd_ps(w0, _mm256_loadu_ps(x[t] + c), sums[t][0]);
      sums[t][1] = _mm256_fmadd_ps(w1, _mm256_loadu_ps(x[t] + c + 8), sums[t][1]);
    }
  }
  while (c < last) {
    const size_t count = last - c < 8 ? last - c : 8;
    const __m256 w = load_some<F>(row + c * F::kBytes, count);
    for (int t = 0; t < kTokens; ++t) {
      sums[t][0] = _mm256_fmadd_ps(w, load_some_floats(x[t] + c, count), sums[t][0]);
    }
    c += count;
  }
}

template <class F, int kTokens>
void float_gemv_rows(const WeightRows& w, const RowScales& scales, const FloatTokens& tokens,
                     size_t first_token, const Destination& to) {
  const float* x[kTokens];
  for (int t = 0; t < kTokens; ++t) x[t] = tokens.values + (first_token + t) * tokens.stride;
  const bool scaled = scales.scales != nullptr;
  const size_t segment = scaled ? scales.columns_per_scale : tokens.columns;
  const Stream stream(w.data, w.rows * w.row_bytes);
  for (size_t r = 0; r < w.rows; ++r) {
    __m256 totals[kTokens];
    for (int t = 0; t < kTokens; ++t) totals[t] = _mm256_setzero_ps();
    size_t index = 0;
    for (size_t first = 0; first < tokens.columns; first += segment, ++index) {
      const size_t last = tokens.columns - first < segment ? tokens.columns : first + segment;
      __m256 sums[kTokens][2];
      for (int t = 0; t < kTokens; ++t) sums[t][0] = sums[t][1] = _mm256_setzero_ps();
      gemv_columns<F, kTokens>(w.data + r * w.row_bytes, x, first, last, stream, sums);
      const __m256 scale = _mm256_set1_ps(scaled ? scales.scales[index] : 1.0f);
      for (int t = 0; t < kTokens; ++t) {
        totals[t] = _mm256_fmadd_ps(_mm256_add_ps(sums[t][0], sums[t][1]), scale, totals[t]);
      }
    }
    for (int t = 0; t < kTokens; ++t) store_sum(sum8(totals[t]), first_token + t, r, to);
  }
}

template <class F>
void float_gemv(const WeightRows& w, const RowScales& scales, const FloatTokens& x, size_t tokens,
                const Destination& to) {
  if (tokens == 1) return float_gemv_rows<F, 1>(w, scales, x, 0, to);
  if (tokens == 2) return float_gemv_rows<F, 2>(w, scales, x, 0, to);
  if (tokens == 3) return float_gemv_rows<F, 3>(w, scales, x, 0, to);
  float_gemv_rows<F, 4>(w, scales, x, 0, to);
}

// A panel: floats [kFloatPanelColumns][kPanelRows], lanes are rows.
constexpr size_t kFloatPanelColumns = 512;

template <class F>
void unpack_float_panel(const WeightRows& w, const RowScales& scales, size_t first_row,
                        size_t first_column, size_t columns, float* panel) {
  for (size_t eight = 0; eight < kPanelRows; eight += 8) {
    const uint8_t* rows[8];
    for (size_t i = 0; i < 8; ++i) {
      const size_t row = first_row + eight + i;
      rows[i] = w.data + (row < w.rows ? row : w.rows - 1) * w.row_bytes + first_column * F::kBytes;
    }
    for (size_t c = 0; c < columns; c += 8) {
      const size_t count = columns - c < 8 ? columns - c : 8;
      __m256i values[8];
      for (size_t i = 0; i < 8; ++i) {
        values[i] = _mm256_castps_si256(load8_or_some<F>(rows[i] + c * F::kBytes, count));
      }
      transpose_words(values);
      for (size_t i = 0; i < count; ++i) {
        __m256 value = _mm256_castsi256_ps(values[i]);
        if (scales.scales != nullptr) {
          const float scale = scales.scales[(first_column + c + i) / scales.columns_per_scale];
          value = _mm256_mul_ps(value, _mm256_set1_ps(scale));
        }
        _mm256_store_ps(panel + (c + i) * kPanelRows + eight, value);
      }
    }
  }
}

// totals[v][t] = sum over c of panel[c, v] * in[t][c], panel: [columns][stride] floats.
template <int kTokens>
inline void multiply_float_panel(const float* panel, size_t stride,
                                 const float* const (&in)[kTokens], size_t columns,
                                 Floats (&totals)[kPanelVectors][kTokens]) {
  for (int v = 0; v < kPanelVectors; ++v) {
    for (int t = 0; t < kTokens; ++t) totals[v][t] = zeros();
  }
  for (size_t c = 0; c < columns; ++c) {
    Floats w[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) w[v] = load(panel + c * stride + v * Floats::kWidth);
    for (int t = 0; t < kTokens; ++t) {
      const Floats value = broadcast(in[t][c]);
      for (int v = 0; v < kPanelVectors; ++v)
        totals[v][t] = multiply_add(w[v], value, totals[v][t]);
    }
  }
}

template <int kTokens>
void multiply_float_tile(const float* panel, const FloatTokens& x, size_t first_token,
                         size_t first_column, size_t columns, size_t rows, size_t first_row,
                         const Destination& to) {
  const float* in[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    in[t] = x.values + (first_token + t) * x.stride + first_column;
  }
  Floats totals[kPanelVectors][kTokens];
  multiply_float_panel<kTokens>(panel, kPanelRows, in, columns, totals);
  for (int t = 0; t < kTokens; ++t) {
    Floats of_token[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) of_token[v] = totals[v][t];
    store_token(of_token, first_token + t, rows, first_row, to);
  }
}

template <class F>
void float_gemm(const WeightRows& w, const RowScales& scales, const FloatTokens& x, size_t tokens,
                uint8_t* memory, const Destination& to) {
  float* panel = reinterpret_cast<float*>(memory);
  for (size_t first_row = 0; first_row < w.rows; first_row += kPanelRows) {
    const size_t rows = w.rows - first_row < kPanelRows ? w.rows - first_row : kPanelRows;
    for (size_t first = 0; first < x.columns; first += kFloatPanelColumns) {
      const size_t left = x.columns - first;
      const size_t columns = left < kFloatPanelColumns ? left : kFloatPanelColumns;
      // A row has one grid line of scales: rows of a call share it.
      unpack_float_panel<F>(w, scales, first_row, first, columns, panel);
      Destination part = to;
      if (first != 0) {  // later columns add to the first ones' sums, which have the bias
        part.add = true;
        part.bias = nullptr;
      }
      size_t token = 0;
      for (; token + kTileTokens <= tokens; token += kTileTokens) {
        multiply_float_tile<kTileTokens>(panel, x, token, first, columns, rows, first_row, part);
      }
      for (; token < tokens; ++token) {
        multiply_float_tile<1>(panel, x, token, first, columns, rows, first_row, part);
      }
    }
  }
}

}  // namespace
