// Many tokens times a panel whose weights are the file's own numbers, with the file's scale for
// each group, on instruction sets that multiply bytes to 16 bits. A body: included by kernels_*.cpp
// after their vector types.
#pragma once

#include "device/cpu/kernels/panel.h"
#include "device/cpu/kernels/tile.h"

namespace {

using namespace hadal::cpu;

constexpr size_t kChunk = 1024;  // columns of a panel
// Bytes, and a scale and a minimum for each 16.
constexpr size_t kPanelBytes =
    kChunk * kIntegerRows + kChunk / 16 * kIntegerRows * 2 * sizeof(float);

template <class F>
[[gnu::noinline]] void unpack_panel(const PanelRows& from, const Panel<F>& panel) {
  const size_t bytes = from.bytes;
  for (size_t eight = 0; eight < kIntegerRows; eight += 8) {
    const uint8_t* rows[8];
    take_rows(from, eight, rows);
    for (size_t r = 0, at = 0; at < bytes; ++r, at += kRunBytes<F>) {
      const size_t left = bytes - at;
      const int parts = left < kRunBytes<F> ? static_cast<int>(left / F::kBytes) : 8;
      unpack_scales<F>(rows, at, parts, r * (256 / F::kGroup), eight, panel);
#pragma GCC unroll 8
      for (int part = 0; part < parts; ++part) {
        Bytes values[8];
        for (size_t i = 0; i < 8; ++i) {
          values[i] = F::values(rows[i] + at, part);
        }
        transpose_words(values);
        const size_t first_four = (r * 256 + static_cast<size_t>(part) * 32) / 4;
        for (size_t i = 0; i < 8; ++i) {
          uint8_t* to = panel.bytes + ((first_four + i) * kIntegerRows + eight) * 4;
          _mm256_store_si256(reinterpret_cast<__m256i*>(to), values[i]);
        }
      }
    }
  }
}

// A tile's sums: one register a token and vector of rows.
template <int kTokens>
using TileInts = WideInts[kIntegerVectors][kTokens];
template <int kTokens>
using TileFloats = Floats[kIntegerVectors][kTokens];

// The integer products of a group for a tile: sums[v][t] (int32 lanes) += weights . digits, which
// are those of the tile's first token and, `stride` behind, of each next. Inlined by force: the
// sums are registers, and with many formats the compiler would rather call.
template <class F, int kTokens>
[[gnu::always_inline]] inline void multiply_group(const uint8_t* weights, const int8_t* digits,
                                                  size_t stride, TileInts<kTokens>& sums) {
  constexpr int kSteps = F::kGroup / 4;
  constexpr int kRun = kSumsIn16Bits<F> < kSteps ? kSumsIn16Bits<F> : kSteps;
#pragma GCC unroll 8
  for (int first = 0; first < kSteps; first += kRun) {
    TileInts<kTokens> pairs;
    for (int step = first; step < first + kRun && step < kSteps; ++step) {
      for (int v = 0; v < kIntegerVectors; ++v) {
        const WideInts w = load_ints(weights + (step * kIntegerRows + v * Floats::kWidth) * 4);
        for (int t = 0; t < kTokens; ++t) {
          const WideInts x = broadcast_ints(load_u32(digits + t * stride + step * 4));
          const WideInts product = multiply_bytes<F::kSigned>(w, x);
          pairs[v][t] = step == first ? product : add16(pairs[v][t], product);
        }
      }
    }
    for (int v = 0; v < kIntegerVectors; ++v) {
      for (int t = 0; t < kTokens; ++t) {
        sums[v][t] = add_ints(sums[v][t], sum_pairs(pairs[v][t], 1));
      }
    }
  }
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
// kBoth: with both digits; else with the low one alone.
template <class F, bool kBoth, int kTokens>
[[gnu::always_inline]] inline void multiply_block(const Panel<F>& panel, const DigitTokens& x,
                                                  size_t first_token, size_t block, size_t groups,
                                                  TileFloats<kTokens>& sums) {
  constexpr size_t kGroups = kSparseBlock / F::kGroup;
  const size_t first = first_token * x.columns + block * kSparseBlock;
  const size_t stride = x.columns / F::kGroup;
  const float* group_sums =
      (F::kGroup == 32 ? x.sums32 : x.sums16) + first_token * stride + block * kGroups;
  const TileStarts<F, kTokens> starts(group_sums, stride);
  for (size_t g = 0; g < groups; ++g) {
    const uint8_t* weights = panel.bytes + (block * kGroups + g) * F::kGroup * kIntegerRows;
    TileInts<kTokens> products;
    if (kBoth) {
      for (int v = 0; v < kIntegerVectors; ++v) {
        for (int t = 0; t < kTokens; ++t) products[v][t] = zero_ints();
      }
      multiply_group<F, kTokens>(weights, x.high + first + g * F::kGroup, x.columns, products);
    }
    for (int t = 0; t < kTokens; ++t) {
      const WideInts start = starts.at(t, g);
      for (int v = 0; v < kIntegerVectors; ++v) {
        products[v][t] = kBoth ? add_ints(shift_left<kDigitBits>(products[v][t]), start) : start;
      }
    }
    multiply_group<F, kTokens>(weights, x.low + first + g * F::kGroup, x.columns, products);
    for (int v = 0; v < kIntegerVectors; ++v) {
      const size_t at = (block * kGroups + g) * kIntegerRows + v * Floats::kWidth;
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

// Bit i: columns 4 i .. of the block have a high digit.
inline uint64_t outliers_of(const DigitTokens& x, size_t token, size_t block) {
  uint64_t steps;
  memcpy(&steps, x.steps + token * (x.columns / 32) + block * (kSparseBlock / 32), sizeof steps);
  return steps;
}

// The high digits of a token, which few steps have: totals[v] += theirs.
template <class F>
inline void add_outliers(const Panel<F>& panel, size_t columns, const DigitTokens& x, size_t token,
                         Floats (&totals)[kIntegerVectors]) {
  const int8_t* digits = x.high + token * x.columns;
  const float* scales = x.scales + token * (x.columns / 32);
  Floats sums[kIntegerVectors];
  for (Floats& sum : sums) sum = zeros();
  for (size_t block = 0; block * kSparseBlock < columns; ++block) {
    const Floats of_token = broadcast(scales[block * (kSparseBlock / 32)]);
    for (uint64_t steps = outliers_of(x, token, block); steps != 0; steps &= steps - 1) {
      const size_t step = block * (kSparseBlock / 4) + static_cast<size_t>(__builtin_ctzll(steps));
      const WideInts four = broadcast_ints(load_u32(digits + step * 4));
      const float* of_weights = panel.scales + step * 4 / F::kGroup * kIntegerRows;
      for (int v = 0; v < kIntegerVectors; ++v) {
        const size_t lane = static_cast<size_t>(v) * Floats::kWidth;
        const WideInts w = load_ints(panel.bytes + (step * kIntegerRows + lane) * 4);
        const Floats scale = of_token * load(of_weights + lane);
        sums[v] =
            multiply_add(to_floats(dot_bytes<F::kSigned>(zero_ints(), w, four)), scale, sums[v]);
      }
    }
  }
  const Floats place = broadcast(1 << kDigitBits);
  for (int v = 0; v < kIntegerVectors; ++v) totals[v] = multiply_add(sums[v], place, totals[v]);
}

// Not inlined: its sums are all the registers there are.
template <class F, bool kBoth, int kTokens>
[[gnu::noinline]] void multiply_tile(const Panel<F>& panel, size_t columns, const DigitTokens& x,
                                     size_t first_token, size_t rows, size_t first_row,
                                     const Destination& to) {
  constexpr size_t kGroups = kSparseBlock / F::kGroup;
  TileFloats<kTokens> totals;
  for (int v = 0; v < kIntegerVectors; ++v) {
    for (int t = 0; t < kTokens; ++t) totals[v][t] = zeros();
  }
  const size_t all = columns / F::kGroup;
  for (size_t block = 0; block * kGroups < all; ++block) {
    const size_t left = all - block * kGroups;
    TileFloats<kTokens> sums;
    for (int v = 0; v < kIntegerVectors; ++v) {
      for (int t = 0; t < kTokens; ++t) sums[v][t] = zeros();
    }
    multiply_block<F, kBoth, kTokens>(panel, x, first_token, block, left < kGroups ? left : kGroups,
                                      sums);
    for (int t = 0; t < kTokens; ++t) {
      const Floats scale = broadcast(x.scales[(first_token + t) * (x.columns / 32) + block * 8]);
      for (int v = 0; v < kIntegerVectors; ++v) {
        totals[v][t] = multiply_add(sums[v][t], scale, totals[v][t]);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    Floats of_token[kIntegerVectors];
    for (int v = 0; v < kIntegerVectors; ++v) of_token[v] = totals[v][t];
    if (!kBoth) add_outliers<F>(panel, columns, x, first_token + t, of_token);
    store_token(of_token, first_token + t, rows, first_row, to);
  }
}

// An outlier's step takes as long as so many steps of a tile in which all tokens have both digits.
// Which way a token goes is its own matter, so that its sums are the same whatever lies beside it.
constexpr size_t kOutlierCost = 5;

inline bool takes_both(const DigitTokens& x, size_t token, size_t columns) {
  size_t outliers = 0;
  for (size_t block = 0; block * kSparseBlock < columns; ++block) {
    outliers += static_cast<size_t>(__builtin_popcountll(outliers_of(x, token, block)));
  }
  return outliers * kOutlierCost >= columns / 4;
}

template <class F, int kTokens>
void multiply_tokens(const Panel<F>& panel, size_t columns, const DigitTokens& x,
                     size_t first_token, size_t rows, size_t first_row, const Destination& to) {
  int both = 0;
  for (int t = 0; t < kTokens; ++t) both += takes_both(x, first_token + t, columns);
  if (both == 0) {
    multiply_tile<F, false, kTokens>(panel, columns, x, first_token, rows, first_row, to);
  } else if (both == kTokens) {
    multiply_tile<F, true, kTokens>(panel, columns, x, first_token, rows, first_row, to);
  } else {
    for (int t = 0; t < kTokens; ++t) {
      multiply_tokens<F, 1>(panel, columns, x, first_token + t, rows, first_row, to);
    }
  }
}

// The tokens' columns from `first` on.
inline DigitTokens columns_from(DigitTokens x, size_t first) {
  x.high += first;
  x.low += first;
  x.scales += first / 32;
  x.steps += first / 32;
  x.sums32 += first / 32;
  x.sums16 += first / 16;
  x.starts += first / kSparseBlock;
  return x;
}

// All tokens times a panel; meanwhile the next one's rows come nearer.
template <class F>
void multiply_panel(const Panel<F>& panel, size_t columns, const DigitTokens& x, size_t tokens,
                    size_t rows, size_t first_row, const Destination& to, const PanelRows& next) {
  const size_t tiles = (tokens + kIntegerTokens - 1) / kIntegerTokens;
  const size_t rows_a_tile = (kIntegerRows + tiles - 1) / tiles;
  LinesAhead ahead(next);
  size_t token = 0;
  for (; token + kIntegerTokens <= tokens; token += kIntegerTokens) {
    ahead.fetch_rows(rows_a_tile);
    multiply_tokens<F, kIntegerTokens>(panel, columns, x, token, rows, first_row, to);
  }
  ahead.fetch_rows(kIntegerRows);
  for (; token + 2 <= tokens; token += 2) {
    multiply_tokens<F, 2>(panel, columns, x, token, rows, first_row, to);
  }
  if (token < tokens) multiply_tokens<F, 1>(panel, columns, x, token, rows, first_row, to);
}

// Digits of a product's tokens that stay in the second-level cache while panels pass.
constexpr size_t kDigitsAtOnce = size_t{1} << 20;

template <class F>
void integer_gemm(const WeightRows& w, const DigitTokens& all, size_t tokens, uint8_t* memory,
                  const Destination& whole) {
  const Panel<F> panel(memory, kChunk, kChunk * kIntegerRows);
  const size_t width = w.row_bytes / F::kBytes * (F::kSuper ? 256 : 32);
  const size_t chunks = (width + kChunk - 1) / kChunk;
  const size_t panels = (w.rows + kIntegerRows - 1) / kIntegerRows;
  // Chunk by chunk where the digits of all are too many; else as the rows lie in memory.
  const bool by_chunk = tokens * width > kDigitsAtOnce;
  const auto chunk_of = [&](size_t i) { return by_chunk ? i / panels : i % chunks; };
  const auto panel_of = [&](size_t i) { return by_chunk ? i % panels : i / chunks; };
  const auto rows_of = [&](size_t i) {
    return PanelRows::of<F>(w, panel_of(i) * kIntegerRows, chunk_of(i) * kChunk, kChunk);
  };
  for (size_t i = 0, count = chunks * panels; i < count; ++i) {
    const size_t first = chunk_of(i) * kChunk, first_row = panel_of(i) * kIntegerRows;
    const PanelRows rows = rows_of(i);
    const size_t columns = width - first < kChunk ? width - first : kChunk;
    unpack_panel<F>(rows, panel);
    Destination to = whole;
    if (first != 0) to.bias = nullptr, to.add = true;
    multiply_panel<F>(panel, columns, columns_from(all, first), tokens, rows.rows, first_row, to,
                      i + 1 < count ? rows_of(i + 1) : PanelRows{});
  }
}

}  // namespace
