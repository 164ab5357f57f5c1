// Quantised weights times many tokens. A panel of rows is unpacked once, interleaved so that a lane
// of the accumulators is a row: no sums across lanes, and one load of weights serves a tile of
// tokens. A body: included by kernels_*.cpp after their vector types.
//
// A panel: bytes [columns / 4][kPanelRows][4], then scales [columns / group][kPanelRows], then
// minimums of the same shape, added, where the format has them.
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

template <class F>
inline void unpack_scales(const uint8_t* run, int parts, size_t first_group, size_t row,
                          const Panel<F>& panel) {
  const Scales scales = F::scales(run, parts);
  constexpr size_t kGroups = 256 / F::kGroup;
  const auto put = [&](const __m256(&from)[2], __m256 sign, float* to) {
    alignas(32) float numbers[16];
    _mm256_store_ps(numbers, _mm256_xor_ps(from[0], sign));
    if (kGroups == 16) _mm256_store_ps(numbers + 8, _mm256_xor_ps(from[1], sign));
    for (size_t g = 0; g < kGroups; ++g) to[(first_group + g) * kPanelRows + row] = numbers[g];
  };
  put(scales.scale, _mm256_setzero_ps(), panel.scales);
  if (F::kMinimums) put(scales.minimum, _mm256_set1_ps(-0.0f), panel.minimums);
}

// Rows first_row .. of w; behind its last row the last one stands in, and nobody reads the result.
template <class F>
void unpack_panel(const WeightRows& w, size_t first_row, const Panel<F>& panel) {
  for (size_t eight = 0; eight < kPanelRows; eight += 8) {
    const uint8_t* rows[8];
    for (size_t i = 0; i < 8; ++i) {
      const size_t row = first_row + eight + i;
      rows[i] = w.data + (row < w.rows ? row : w.rows - 1) * w.row_bytes;
    }
    for (size_t r = 0, at = 0; at < w.row_bytes; ++r, at += kRunBytes<F>) {
      const size_t left = w.row_bytes - at;
      const int parts = left < kRunBytes<F> ? static_cast<int>(left / F::kBytes) : 8;
      for (size_t i = 0; i < 8; ++i) {
        const auto* next = reinterpret_cast<const char*>(rows[i] + at + 8 * w.row_bytes);
        for (size_t line = 0; line < kRunBytes<F>; line += 64) {
          _mm_prefetch(next + line, _MM_HINT_T0);  // the next eight rows
        }
        unpack_scales<F>(rows[i] + at, parts, r * (256 / F::kGroup), eight + i, panel);
      }
#pragma GCC unroll 8
      for (int part = 0; part < parts; ++part) {
        Bytes values[8];
        for (size_t i = 0; i < 8; ++i) {
          values[i] = F::values(rows[i] + at, part);
          if (F::kSigned && kHasVnni) {
            values[i] = _mm256_xor_si256(values[i], _mm256_set1_epi8(-128));
          }
        }
        transpose_words(values);
        const size_t first_four = (r * 256 + static_cast<size_t>(part) * 32) / 4;
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

// A tile's sums: one register a token and vector of rows.
template <int kTokens>
using TileInts = WideInts[kPanelVectors][kTokens];
template <int kTokens>
using TileFloats = Floats[kPanelVectors][kTokens];

// The integer products of a group for a tile: sums[v][t] (int32 lanes) += weights . digits, which
// are those of the tile's first token and, `stride` behind, of each next. Inlined by force: the
// sums are registers, and with many formats the compiler would rather call.
template <class F, int kTokens>
[[gnu::always_inline]] inline void multiply_group(const uint8_t* weights, const int8_t* digits,
                                                  size_t stride, TileInts<kTokens>& sums) {
  constexpr int kSteps = F::kGroup / 4;
#if defined(__AVX512VNNI__)
#pragma GCC unroll 8
  for (int step = 0; step < kSteps; ++step) {
    WideInts w[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) {
      w[v] = load_ints(weights + (step * kPanelRows + v * Floats::kWidth) * 4);
    }
    for (int t = 0; t < kTokens; ++t) {
      const WideInts x = broadcast_ints(load_u32(digits + t * stride + step * 4));
      for (int v = 0; v < kPanelVectors; ++v) sums[v][t] = dot_bytes(sums[v][t], w[v], x);
    }
  }
#else
  constexpr int kRun = kSumsIn16Bits<F> < kSteps ? kSumsIn16Bits<F> : kSteps;
#pragma GCC unroll 8
  for (int first = 0; first < kSteps; first += kRun) {
    TileInts<kTokens> pairs;
    for (int step = first; step < first + kRun && step < kSteps; ++step) {
      for (int v = 0; v < kPanelVectors; ++v) {
        const WideInts w = load_ints(weights + (step * kPanelRows + v * Floats::kWidth) * 4);
        for (int t = 0; t < kTokens; ++t) {
          const WideInts x = broadcast_ints(load_u32(digits + t * stride + step * 4));
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

// The same of the four columns of some steps, a bit each.
template <class F, int kTokens>
[[gnu::always_inline]] inline void multiply_steps(uint32_t steps, const uint8_t* weights,
                                                  const int8_t* digits, size_t stride,
                                                  TileInts<kTokens>& sums) {
  for (; steps != 0; steps &= steps - 1) {
    const auto step = static_cast<size_t>(__builtin_ctz(steps));
    WideInts w[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) {
      w[v] = load_ints(weights + (step * kPanelRows + v * Floats::kWidth) * 4);
    }
    for (int t = 0; t < kTokens; ++t) {
      const WideInts x = broadcast_ints(load_u32(digits + t * stride + step * 4));
      for (int v = 0; v < kPanelVectors; ++v) {
#if defined(__AVX512VNNI__)
        sums[v][t] = dot_bytes(sums[v][t], w[v], x);
#else
        sums[v][t] = add_pairs(sums[v][t], multiply_bytes<F::kSigned>(w[v], x));
#endif
      }
    }
  }
}

// Which steps of a block have a high digit in any of a tile's tokens: a byte for each 32 columns.
template <int kTokens>
inline uint64_t steps_of(const DigitTokens& x, size_t first_token, size_t block) {
  uint64_t steps = 0;
  for (int t = 0; t < kTokens; ++t) {
    uint64_t of_token;
    memcpy(&of_token, x.steps + (first_token + t) * (x.columns / 32) + block * 8, 8);
    steps |= of_token;
  }
  return steps;
}

// Sums start at what the offset takes from them: starts[t][g], of each token's group. An offset is
// a power of two.
template <class F, int kTokens>
struct TileStarts {
  static constexpr size_t kGroups = kSparseBlock / F::kGroup;
  alignas(32) int32_t of[kTokens][kGroups];

  TileStarts(const float* sums, size_t stride) {
    if (kOffsetOf<F> == 0) return;
    for (int t = 0; t < kTokens; ++t) {
      for (size_t g = 0; g < kGroups; g += 8) {
        const __m256 offset = _mm256_set1_ps(-static_cast<float>(kOffsetOf<F>));
        const __m256 taken = _mm256_mul_ps(_mm256_loadu_ps(sums + t * stride + g), offset);
        _mm256_store_si256(reinterpret_cast<__m256i*>(of[t] + g), _mm256_cvtps_epi32(taken));
      }
    }
  }
  [[gnu::always_inline]] WideInts at(int t, size_t g) const {
    return kOffsetOf<F> == 0 ? zero_ints() : broadcast_ints(static_cast<uint32_t>(of[t][g]));
  }
};

// A block's products, without the scales of the tokens: sums += ... `groups` of it are there.
template <class F, int kTokens>
[[gnu::always_inline]] inline void multiply_block(const Panel<F>& panel, const DigitTokens& x,
                                                  size_t first_token, size_t block, size_t groups,
                                                  TileFloats<kTokens>& sums) {
  constexpr size_t kGroups = kSparseBlock / F::kGroup, kSteps = F::kGroup / 4;
  const size_t first = first_token * x.columns + block * kSparseBlock;
  const size_t stride = x.columns / F::kGroup;
  const float* group_sums =
      (F::kGroup == 32 ? x.sums32 : x.sums16) + first_token * stride + block * kGroups;
  const TileStarts<F, kTokens> starts(group_sums, stride);
  uint64_t steps = steps_of<kTokens>(x, first_token, block);
  for (size_t g = 0; g < groups; ++g, steps >>= kSteps) {
    const uint8_t* weights = panel.bytes + (block * kGroups + g) * F::kGroup * kPanelRows;
    TileInts<kTokens> products;
    const uint32_t great = steps & ((1u << kSteps) - 1);
    if (great != 0) {
      for (int v = 0; v < kPanelVectors; ++v) {
        for (int t = 0; t < kTokens; ++t) products[v][t] = zero_ints();
      }
      multiply_steps<F, kTokens>(great, weights, x.high + first + g * F::kGroup, x.columns,
                                 products);
      for (int t = 0; t < kTokens; ++t) {
        const WideInts start = starts.at(t, g);
        for (int v = 0; v < kPanelVectors; ++v) {
          products[v][t] = add_ints(shift_left<kDigitBits>(products[v][t]), start);
        }
      }
    } else {
      for (int t = 0; t < kTokens; ++t) {
        const WideInts start = starts.at(t, g);
        for (int v = 0; v < kPanelVectors; ++v) products[v][t] = start;
      }
    }
    multiply_group<F, kTokens>(weights, x.low + first + g * F::kGroup, x.columns, products);
    for (int v = 0; v < kPanelVectors; ++v) {
      const size_t at = (block * kGroups + g) * kPanelRows + v * Floats::kWidth;
      const Floats scale = load(panel.scales + at);
      for (int t = 0; t < kTokens; ++t) {
        sums[v][t] = multiply_add(to_floats(products[v][t]), scale, sums[v][t]);
        if (F::kMinimums) {
          sums[v][t] = multiply_add(load(panel.minimums + at),
                                    broadcast(group_sums[t * stride + g]), sums[v][t]);
        }
      }
    }
  }
}

template <class F, int kTokens>
void multiply_tile(const Panel<F>& panel, size_t columns, const DigitTokens& x, size_t first_token,
                   size_t rows, size_t first_row, const Destination& to) {
  constexpr size_t kGroups = kSparseBlock / F::kGroup;
  TileFloats<kTokens> totals;
  for (int v = 0; v < kPanelVectors; ++v) {
    for (int t = 0; t < kTokens; ++t) totals[v][t] = zeros();
  }
  const size_t all = columns / F::kGroup;
  for (size_t block = 0; block * kGroups < all; ++block) {
    const size_t left = all - block * kGroups;
    TileFloats<kTokens> sums;
    for (int v = 0; v < kPanelVectors; ++v) {
      for (int t = 0; t < kTokens; ++t) sums[v][t] = zeros();
    }
    multiply_block<F, kTokens>(panel, x, first_token, block, left < kGroups ? left : kGroups, sums);
    for (int t = 0; t < kTokens; ++t) {
      const Floats scale = broadcast(x.scales[(first_token + t) * (x.columns / 32) + block * 8]);
      for (int v = 0; v < kPanelVectors; ++v) {
        totals[v][t] = multiply_add(sums[v][t], scale, totals[v][t]);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    store_tile(totals, t, first_token + t, rows, first_row, to);
  }
}

template <class F>
void integer_gemm(const WeightRows& w, const DigitTokens& x, size_t tokens, uint8_t* memory,
                  const Destination& to) {
  const Panel<F> panel(memory, x.columns);
  const size_t columns = w.row_bytes / F::kBytes * (F::kSuper ? 256 : 32);
  for (size_t first_row = 0; first_row < w.rows; first_row += kPanelRows) {
    unpack_panel<F>(w, first_row, panel);
    const size_t left = w.rows - first_row;
    const size_t rows = left < kPanelRows ? left : kPanelRows;
    size_t token = 0;
    for (; token + kTileTokens <= tokens; token += kTileTokens) {
      multiply_tile<F, kTileTokens>(panel, columns, x, token, rows, first_row, to);
    }
    for (; token + 2 <= tokens; token += 2) {
      multiply_tile<F, 2>(panel, columns, x, token, rows, first_row, to);
    }
    if (token < tokens) multiply_tile<F, 1>(panel, columns, x, token, rows, first_row, to);
  }
}

}  // namespace
