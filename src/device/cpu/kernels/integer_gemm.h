// Quantised weights times many tokens. A panel of rows is unpacked once, interleaved so that a lane
// of the accumulators is a row: no sums across lanes, and one load of weights serves a tile of
// tokens. A body: included by kernels_*.cpp after their vector types.
//
// A panel has kChunk columns at most, so that it stays in the first-level cache while all tokens
// pass, as their digits of these columns stay in the second while all panels do. It is bytes
// [columns / 4][kPanelRows][4], then scales [columns / group][kPanelRows], then minimums of the
// same shape, added, where the format has them.
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
  explicit Panel(uint8_t* memory)
      : bytes(memory),
        scales(reinterpret_cast<float*>(memory + kChunk * kPanelRows)),
        minimums(scales + kChunk / F::kGroup * kPanelRows) {}
};

// Scales of a run of eight rows, to their groups' places.
template <class F>
inline void unpack_scales(const uint8_t* const (&rows)[8], size_t at, int parts, size_t first_group,
                          size_t first_row, const Panel<F>& panel) {
  constexpr int kHalves = 256 / F::kGroup / 8;
  Bytes scales[kHalves][8], minimums[kHalves][8];
  const __m256 sign = _mm256_set1_ps(-0.0f);
  for (int i = 0; i < 8; ++i) {
    const Scales of_row = F::scales(rows[i] + at, parts);
    for (int half = 0; half < kHalves; ++half) {
      scales[half][i] = _mm256_castps_si256(of_row.scale[half]);
      if (F::kMinimums) {
        minimums[half][i] = _mm256_castps_si256(_mm256_xor_ps(of_row.minimum[half], sign));
      }
    }
  }
  for (int half = 0; half < kHalves; ++half) {
    const auto put = [&](Bytes(&numbers)[8], float* to) {
      transpose_words(numbers);
      for (size_t g = 0; g < 8; ++g) {
        float* group = to + (first_group + 8 * half + g) * kPanelRows + first_row;
        _mm256_store_si256(reinterpret_cast<__m256i*>(group), numbers[g]);
      }
    };
    put(scales[half], panel.scales);
    if (F::kMinimums) put(minimums[half], panel.minimums);
  }
}

// Where a panel comes from: a chunk of kPanelRows rows, or of those that are left.
struct PanelRows {
  const uint8_t* data;
  size_t row_bytes, rows, bytes;  // bytes: of a row's chunk

  template <class F>
  static PanelRows of(const WeightRows& w, size_t first_row, size_t first_column) {
    const size_t start = first_column / 256 * kRunBytes<F>, rows = w.rows - first_row;
    const size_t whole = w.row_bytes - start, most = kChunk / 256 * kRunBytes<F>;
    return {w.data + first_row * w.row_bytes + start, w.row_bytes,
            rows < kPanelRows ? rows : kPanelRows, whole < most ? whole : most};
  }
  // Rows [first, last) on their way to the second-level cache.
  void prefetch(size_t first, size_t last) const {
    for (size_t row = first; row < last && row < rows; ++row) {
      const auto* from = reinterpret_cast<const char*>(data + row * row_bytes);
      for (size_t at = 0; at < bytes; at += 64) _mm_prefetch(from + at, _MM_HINT_T1);
    }
  }
};

// Behind the last row that one stands in, and nobody reads the result.
template <class F>
[[gnu::noinline]] void unpack_panel(const PanelRows& from, const Panel<F>& panel) {
  const size_t bytes = from.bytes;
  for (size_t eight = 0; eight < kPanelRows; eight += 8) {
    const uint8_t* rows[8];
    for (size_t i = 0; i < 8; ++i) {
      const size_t row = eight + i;
      rows[i] = from.data + (row < from.rows ? row : from.rows - 1) * from.row_bytes;
    }
    for (size_t r = 0, at = 0; at < bytes; ++r, at += kRunBytes<F>) {
      const size_t left = bytes - at;
      const int parts = left < kRunBytes<F> ? static_cast<int>(left / F::kBytes) : 8;
      unpack_scales<F>(rows, at, parts, r * (256 / F::kGroup), eight, panel);
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

// Of four columns: weights . digits, four products a lane.
template <class F>
inline WideInts dot_four(WideInts weights, WideInts digits) {
#if defined(__AVX512VNNI__)
  return dot_bytes(zero_ints(), weights, digits);
#else
  return add_pairs(zero_ints(), multiply_bytes<F::kSigned>(weights, digits));
#endif
}

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
    const uint8_t* weights = panel.bytes + (block * kGroups + g) * F::kGroup * kPanelRows;
    TileInts<kTokens> products;
    if (kBoth) {
      for (int v = 0; v < kPanelVectors; ++v) {
        for (int t = 0; t < kTokens; ++t) products[v][t] = zero_ints();
      }
      multiply_group<F, kTokens>(weights, x.high + first + g * F::kGroup, x.columns, products);
    }
    for (int t = 0; t < kTokens; ++t) {
      const WideInts start = starts.at(t, g);
      for (int v = 0; v < kPanelVectors; ++v) {
        products[v][t] = kBoth ? add_ints(shift_left<kDigitBits>(products[v][t]), start) : start;
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

inline size_t outliers_of(const DigitTokens& x, size_t token) {
  return x.outlier_counts[token * chunks_of(x.columns)];
}

// The high digits of a token, which few steps have: totals[v] += theirs.
template <class F>
inline void add_outliers(const Panel<F>& panel, const DigitTokens& x, size_t token,
                         Floats (&totals)[kPanelVectors]) {
  const uint8_t* steps = x.outliers + token * (x.columns / 4);
  const int8_t* digits = x.high + token * x.columns;
  const float* scales = x.scales + token * (x.columns / 32);
  Floats sums[kPanelVectors];
  for (Floats& sum : sums) sum = zeros();
  for (size_t i = 0, count = outliers_of(x, token); i < count; ++i) {
    const size_t step = steps[i], column = step * 4;
    const WideInts four = broadcast_ints(load_u32(digits + column));
    const Floats scale = broadcast(scales[column / kSparseBlock * (kSparseBlock / 32)]);
    for (int v = 0; v < kPanelVectors; ++v) {
      const WideInts w = load_ints(panel.bytes + (step * kPanelRows + v * Floats::kWidth) * 4);
      const float* of_weights = panel.scales + column / F::kGroup * kPanelRows + v * Floats::kWidth;
      sums[v] = multiply_add(to_floats(dot_four<F>(w, four)), scale * load(of_weights), sums[v]);
    }
  }
  const Floats place = broadcast(1 << kDigitBits);
  for (int v = 0; v < kPanelVectors; ++v) totals[v] = multiply_add(sums[v], place, totals[v]);
}

// Not inlined: its sums are all the registers there are.
template <class F, bool kBoth, int kTokens>
[[gnu::noinline]] void multiply_tile(const Panel<F>& panel, size_t columns, const DigitTokens& x,
                                     size_t first_token, size_t rows, size_t first_row,
                                     const Destination& to) {
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
    multiply_block<F, kBoth, kTokens>(panel, x, first_token, block, left < kGroups ? left : kGroups,
                                      sums);
    for (int t = 0; t < kTokens; ++t) {
      const Floats scale = broadcast(x.scales[(first_token + t) * (x.columns / 32) + block * 8]);
      for (int v = 0; v < kPanelVectors; ++v) {
        totals[v][t] = multiply_add(sums[v][t], scale, totals[v][t]);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    Floats of_token[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) of_token[v] = totals[v][t];
    if (!kBoth) add_outliers<F>(panel, x, first_token + t, of_token);
    store_token(of_token, first_token + t, rows, first_row, to);
  }
}

// An outlier's step takes as long as so many steps of a tile in which all tokens have both digits.
// Which way a token goes is its own matter, so that its sums are the same whatever lies beside it.
constexpr size_t kOutlierCost = 5;

inline bool takes_both(const DigitTokens& x, size_t token, size_t columns) {
  return outliers_of(x, token) * kOutlierCost >= columns / 4;
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
  x.sums32 += first / 32;
  x.sums16 += first / 16;
  x.outliers += first / 4;
  x.outlier_counts += first / kChunk;
  return x;
}

// All tokens times a panel; meanwhile the next one's rows come nearer.
template <class F>
void multiply_panel(const Panel<F>& panel, size_t columns, const DigitTokens& x, size_t tokens,
                    size_t rows, size_t first_row, const Destination& to, const PanelRows& next) {
  const size_t tiles = (tokens + kTileTokens - 1) / kTileTokens;
  const size_t rows_a_tile = (kPanelRows + tiles - 1) / tiles;
  size_t token = 0, ahead = 0;
  for (; token + kTileTokens <= tokens; token += kTileTokens, ahead += rows_a_tile) {
    next.prefetch(ahead, ahead + rows_a_tile);
    multiply_tokens<F, kTileTokens>(panel, columns, x, token, rows, first_row, to);
  }
  next.prefetch(ahead, kPanelRows);
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
  const Panel<F> panel(memory);
  const size_t width = w.row_bytes / F::kBytes * (F::kSuper ? 256 : 32);
  const size_t chunks = chunks_of(width), panels = (w.rows + kPanelRows - 1) / kPanelRows;
  // Chunk by chunk where the digits of all are too many; else as the rows lie in memory.
  const bool by_chunk = tokens * width > kDigitsAtOnce;
  const auto chunk_of = [&](size_t i) { return by_chunk ? i / panels : i % chunks; };
  const auto panel_of = [&](size_t i) { return by_chunk ? i % panels : i / chunks; };
  const auto rows_of = [&](size_t i) {
    return PanelRows::of<F>(w, panel_of(i) * kPanelRows, chunk_of(i) * kChunk);
  };
  for (size_t i = 0, count = chunks * panels; i < count; ++i) {
    const size_t first = chunk_of(i) * kChunk, first_row = panel_of(i) * kPanelRows;
    const PanelRows rows = rows_of(i);
    unpack_panel<F>(rows, panel);
    Destination to = whole;
    if (first != 0) to.bias = nullptr, to.add = true;
    multiply_panel<F>(panel, width - first < kChunk ? width - first : kChunk,
                      columns_from(all, first), tokens, rows.rows, first_row, to,
                      i + 1 < count ? rows_of(i + 1) : PanelRows{});
  }
}

}  // namespace
