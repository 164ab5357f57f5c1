// Quantised weights times many tokens. A panel of rows is unpacked once, interleaved so that a lane
// of the accumulators is a row: no sums across lanes, and one load of weights serves a tile of
// tokens. A body: included by kernels_*.cpp after their vector types.
//
// A panel: bytes [columns / 4][kPanelRows][4], then scales [columns / group][kPanelRows], then
// minimums of the same shape where the format has them.
#pragma once

#include "device/cpu/kernels/formats.h"
#include "device/cpu/kernels/integer_gemv.h"
#include "device/cpu/kernels/table.h"
#include "device/cpu/kernels/tile.h"

namespace {

using namespace hadal::cpu;

template <class F>
struct Panel {
  uint8_t* bytes;
  float* scales;
  float* minimums;
  Panel(uint8_t* memory, size_t columns)
      : bytes(memory),
        scales(reinterpret_cast<float*>(memory + columns * kPanelRows)),
        minimums(scales + columns / F::kGroup * kPanelRows) {}
};

// Scales and minimums of a row's block, as the panel keeps them: minimums are added.
template <class F>
inline void unpack_scales(const uint8_t* block, size_t first_group, size_t row,
                          const Panel<F>& panel) {
  if constexpr (F::kSuper) {
    const Scales scales = F::scales(block);
    alignas(32) float numbers[16];
    constexpr size_t kGroups = 256 / F::kGroup;
    const auto put = [&](const __m256(&from)[2], float* to) {
      _mm256_store_ps(numbers, from[0]);
      if (kGroups == 16) _mm256_store_ps(numbers + 8, from[1]);
      for (size_t g = 0; g < kGroups; ++g) to[(first_group + g) * kPanelRows + row] = numbers[g];
    };
    put(scales.scale, panel.scales);
    if (F::kMinimums) {
      const __m256 zero = _mm256_setzero_ps();
      const __m256 negated[2] = {_mm256_sub_ps(zero, scales.minimum[0]),
                                 kGroups == 16 ? _mm256_sub_ps(zero, scales.minimum[1]) : zero};
      put(negated, panel.minimums);
    }
  } else {
    const __m128 scale = F::scale(block);
    panel.scales[first_group * kPanelRows + row] = _mm_cvtss_f32(scale);
    if (F::kMinimums) {
      panel.minimums[first_group * kPanelRows + row] = _mm_cvtss_f32(_mm_movehdup_ps(scale));
    }
  }
}

// Rows first_row .. of w; behind its last row the last one stands in, and nobody reads the result.
template <class F>
void unpack_panel(const WeightRows& w, size_t first_row, size_t columns, const Panel<F>& panel) {
  constexpr size_t kBlockValues = F::kSuper ? 256 : 32;
  for (size_t eight = 0; eight < kPanelRows; eight += 8) {
    const uint8_t* rows[8];
    for (size_t i = 0; i < 8; ++i) {
      const size_t row = first_row + eight + i;
      rows[i] = w.data + (row < w.rows ? row : w.rows - 1) * w.row_bytes;
    }
    for (size_t b = 0; b < columns / kBlockValues; ++b) {
      for (size_t i = 0; i < 8; ++i) {
        const uint8_t* block = rows[i] + b * F::kBytes;
        _mm_prefetch(reinterpret_cast<const char*>(block + 512), _MM_HINT_T0);
        unpack_scales<F>(block, b * (kBlockValues / F::kGroup), eight + i, panel);
      }
#pragma GCC unroll 8
      for (int part = 0; part < static_cast<int>(kBlockValues / 32); ++part) {
        Bytes values[8];
        for (size_t i = 0; i < 8; ++i) {
          if constexpr (F::kSuper) {
            values[i] = F::values(rows[i] + b * F::kBytes, part);
          } else {
            values[i] = F::values(rows[i] + b * F::kBytes);
          }
          if (F::kSigned && kHasVnni) {
            values[i] = _mm256_xor_si256(values[i], _mm256_set1_epi8(-128));
          }
        }
        transpose_words(values);
        const size_t first_four = (b * kBlockValues + static_cast<size_t>(part) * 32) / 4;
        for (size_t i = 0; i < 8; ++i) {
          uint8_t* to = panel.bytes + ((first_four + i) * kPanelRows + eight) * 4;
          _mm256_store_si256(reinterpret_cast<__m256i*>(to), values[i]);
        }
      }
    }
  }
}

// Without VNNI products of bytes are summed in 16 bits first: so many fit.
template <class F>
constexpr int kSumsIn16Bits = F::kSigned ? 1 : 32767 / (2 * 127 * F::kMaximum);

// The integer products of a group for a tile: sums[v][t] (int32 lanes) += weights . activations.
template <class F, int kTokens>
inline void multiply_group(const uint8_t* weights, const int8_t* const (&activations)[kTokens],
                           size_t column, WideInts (&sums)[kPanelVectors][kTokens]) {
  constexpr int kSteps = F::kGroup / 4;
#if defined(__AVX512VNNI__)
#pragma GCC unroll 8
  for (int step = 0; step < kSteps; ++step) {
    WideInts w[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) {
      w[v] = load_ints(weights + (step * kPanelRows + v * Floats::kWidth) * 4);
    }
    for (int t = 0; t < kTokens; ++t) {
      const WideInts x = broadcast_ints(load_u32(activations[t] + column + step * 4));
      for (int v = 0; v < kPanelVectors; ++v) sums[v][t] = dot_bytes(sums[v][t], w[v], x);
    }
  }
#else
  constexpr int kRun = kSumsIn16Bits<F> < kSteps ? kSumsIn16Bits<F> : kSteps;
#pragma GCC unroll 8
  for (int first = 0; first < kSteps; first += kRun) {
    WideInts pairs[kPanelVectors][kTokens];
    for (int step = first; step < first + kRun && step < kSteps; ++step) {
      for (int v = 0; v < kPanelVectors; ++v) {
        const WideInts w = load_ints(weights + (step * kPanelRows + v * Floats::kWidth) * 4);
        for (int t = 0; t < kTokens; ++t) {
          const WideInts x = broadcast_ints(load_u32(activations[t] + column + step * 4));
          const WideInts product = multiply_bytes<F::kSigned>(w, x);
          pairs[v][t] = step == first ? product : add16(pairs[v][t], product);
        }
      }
    }
    for (int v = 0; v < kPanelVectors; ++v) {
      for (int t = 0; t < kTokens; ++t) sums[v][t] = add_pairs(sums[v][t], pairs[v][t]);
    }
  }
#endif
}

template <class F, int kTokens>
void multiply_tile(const Panel<F>& panel, const Int8Tokens& x, size_t first_token, size_t rows,
                   size_t first_row, const Destination& to) {
  const size_t groups = x.columns / F::kGroup;
  const int8_t* activations[kTokens];
  for (int t = 0; t < kTokens; ++t) activations[t] = x.values + (first_token + t) * x.columns;
  Floats totals[kPanelVectors][kTokens];
  for (int v = 0; v < kPanelVectors; ++v) {
    for (int t = 0; t < kTokens; ++t) totals[v][t] = zeros();
  }
  const float* group_sums = F::kGroup == 32 ? x.sums32 : x.sums16;
  for (size_t g = 0; g < groups; ++g) {
    WideInts sums[kPanelVectors][kTokens];
    for (int t = 0; t < kTokens; ++t) {
      const size_t at = (first_token + t) * groups + g;
      for (int v = 0; v < kPanelVectors; ++v) {
        sums[v][t] =
            kOffsetOf<F> != 0 ? broadcast_ints(static_cast<uint32_t>(x.offsets[at])) : zero_ints();
      }
    }
    multiply_group<F, kTokens>(panel.bytes + g * F::kGroup * kPanelRows, activations, g * F::kGroup,
                               sums);
    for (int v = 0; v < kPanelVectors; ++v) {
      const size_t at_scale = g * kPanelRows + v * Floats::kWidth;
      const Floats scale = load(panel.scales + at_scale);
      for (int t = 0; t < kTokens; ++t) {
        const size_t token = first_token + t;
        const Floats factor =
            scale * broadcast(x.scales[token * (x.columns / 32) + g * F::kGroup / 32]);
        totals[v][t] = multiply_add(to_floats(sums[v][t]), factor, totals[v][t]);
        if (F::kMinimums) {
          totals[v][t] = multiply_add(load(panel.minimums + at_scale),
                                      broadcast(group_sums[token * groups + g]), totals[v][t]);
        }
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    store_tile(totals, t, first_token + t, rows, first_row, to);
  }
}

template <class F>
void integer_gemm(const WeightRows& w, const Int8Tokens& x, size_t tokens, uint8_t* memory,
                  const Destination& to) {
  const Panel<F> panel(memory, x.columns);
  for (size_t first_row = 0; first_row < w.rows; first_row += kPanelRows) {
    unpack_panel<F>(w, first_row, x.columns, panel);
    const size_t left = w.rows - first_row;
    const size_t rows = left < kPanelRows ? left : kPanelRows;
    size_t token = 0;
    for (; token + kTileTokens <= tokens; token += kTileTokens) {
      multiply_tile<F, kTileTokens>(panel, x, token, rows, first_row, to);
    }
    for (; token + 2 <= tokens; token += 2) {
      multiply_tile<F, 2>(panel, x, token, rows, first_row, to);
    }
    if (token < tokens) multiply_tile<F, 1>(panel, x, token, rows, first_row, to);
  }
}

template <class F>
constexpr IntegerKernels integer_kernels() {
  return {.gemv = integer_gemv<F>,
          .gemm = integer_gemm<F>,
          .gemv_offset = F::kSuper ? 0 : kOffsetOf<F>,
          .gemm_offset = kOffsetOf<F>,
          .gemm_group = F::kGroup};
}

}  // namespace
