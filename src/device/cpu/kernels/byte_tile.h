// Many tokens times a panel on instruction sets that sum products of bytes in 32 bits (VNNI). A
// body: included by kernels_*.cpp after their vector types.
//
// A group of 32 weights is over after eight instructions, and to take its sums to floats and times
// its scale costs two more and a wait. So a panel's weights are rounded to bytes under one scale
// for each row's block of kSparseBlock columns, the length that shares a scale in the tokens as
// well: sums stay whole numbers for 64 instructions. The rounding is at most half of 1 / 127 of
// what a block's weights can reach: for 4-bit weights a sixteenth of their own. Where activations
// are outliers even that would show, so what it took from a weight is kept as a second byte, and
// multiplied with the high digits, which outliers alone have: the products of a token that has them
// everywhere are as good as exact.
//
// Bytes are weight + 128, as VNNI wants them without sign, and rest + 128; a token's sums start at
// what these add (DigitTokens::starts).
#pragma once

#include "device/cpu/kernels/byte_panel.h"
#include "device/cpu/kernels/tile.h"

namespace {

using namespace hadal::cpu;

// What a tile takes of its tokens' block.
template <int kTokens>
struct BlockTokens {
  const int8_t *high, *low;  // of the first; `stride` behind are the next one's
  size_t stride;
  uint64_t outliers[kTokens];  // bit i: columns 4 i .. have a high digit
  int32_t starts[kTokens];
  float scales[kTokens];

  BlockTokens(const DigitTokens& x, size_t first_token, size_t block)
      : high(x.high + first_token * x.columns + block * kSparseBlock),
        low(x.low + first_token * x.columns + block * kSparseBlock),
        stride(x.columns) {
    for (int t = 0; t < kTokens; ++t) {
      const size_t token = first_token + static_cast<size_t>(t);
      const size_t group = token * (x.columns / 32) + block * (kSparseBlock / 32);
      memcpy(&outliers[t], x.steps + group, sizeof(uint64_t));
      starts[t] = x.starts[token * (x.columns / kSparseBlock) + block];
      scales[t] = x.scales[group];
    }
  }
};

// The sums of a block's high digits, of tokens [kFirst, kFirst + kCount): the steps that one of
// them has are multiplied for all.
template <int kFirst, int kCount, int kTokens>
[[gnu::always_inline]] inline void multiply_outliers(const uint8_t* weights,
                                                     const BlockTokens<kTokens>& x,
                                                     WideInts (&sums)[kIntegerVectors][kTokens]) {
  constexpr size_t kWidth = Floats::kWidth;
  WideInts rests[kIntegerVectors][kCount];
  uint64_t steps = 0;
#pragma GCC unroll 8
  for (int t = 0; t < kCount; ++t) {
    steps |= x.outliers[kFirst + t];
    const WideInts start = broadcast_ints(static_cast<uint32_t>(2 * x.starts[kFirst + t]));
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) {
      sums[v][kFirst + t] = zero_ints();
      rests[v][t] = start;
    }
  }
  for (; steps != 0; steps &= steps - 1) {
    const size_t step = static_cast<size_t>(__builtin_ctzll(steps));
    const uint8_t* of_step = weights + step * kIntegerRows * 4;
    WideInts digits[kCount];
#pragma GCC unroll 8
    for (int t = 0; t < kCount; ++t) {
      digits[t] = broadcast_in_place(x.high + (kFirst + t) * x.stride + step * 4);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) {
      const WideInts weight = load_ints(of_step + v * kWidth * 4);
      const WideInts rest = load_ints(of_step + kToRests + v * kWidth * 4);
#pragma GCC unroll 8
      for (int t = 0; t < kCount; ++t) {
        add_dots(sums[v][kFirst + t], weight, digits[t]);
        add_dots(rests[v][t], rest, digits[t]);
      }
    }
  }
  // Rests are 256ths.
#pragma GCC unroll 8
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) {
      WideInts& sum = sums[v][kFirst + t];
      sum = add_ints(shift_left<kDigitBits>(sum), shift_right<8 - kDigitBits>(rests[v][t]));
    }
  }
}

// Sums of blocks so far, of each token one for each of the panel's rows: [tokens][kIntegerRows].
struct Totals {
  float* of;
  bool none;  // yet: what is there is not read
};

// A block of `steps` steps: totals of the tokens = or += products * scales.
template <int kTokens>
[[gnu::noinline]] void multiply_tile(const uint8_t* weights, const float* scales,
                                     const BlockTokens<kTokens>& x, size_t steps,
                                     const Totals& totals) {
  constexpr size_t kWidth = Floats::kWidth;
  WideInts sums[kIntegerVectors][kTokens];
  // By twos: more have more steps that are another's, fewer more ends of loops.
  constexpr int kFirst = kTokens == 1 ? 1 : 2;
  multiply_outliers<0, kFirst>(weights, x, sums);
  if constexpr (kTokens > 2) multiply_outliers<2, 2>(weights, x, sums);
  if constexpr (kTokens > 4) multiply_outliers<4, 2>(weights, x, sums);
  const int8_t* low = x.low;
  for (size_t step = 0; step < steps; ++step, weights += kIntegerRows * 4, low += 4) {
    WideInts w[kIntegerVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) w[v] = load_ints(weights + v * kWidth * 4);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const WideInts digits = broadcast_in_place(low + t * x.stride);
#pragma GCC unroll 8
      for (int v = 0; v < kIntegerVectors; ++v) add_dots(sums[v][t], w[v], digits);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kIntegerVectors; ++v) {
    const Floats scale = load(scales + v * kWidth);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      float* total = totals.of + static_cast<size_t>(t) * kIntegerRows + v * kWidth;
      const Floats before = totals.none ? zeros() : load(total);
      store(total, multiply_add(to_floats(sums[v][t]), scale * broadcast(x.scales[t]), before));
    }
  }
}

// A block of a panel and all tokens' totals. A product's places, which lie far apart, are fetched
// while its last blocks are multiplied, a line of each token at each.
struct BlockProduct {
  const uint8_t* weights;
  const float* scales;
  size_t block, steps;
  Totals totals;
  size_t rows;         // of the panel that are real
  size_t blocks_left;  // behind this one
  Destination to;      // at the panel's first row
};

template <int kTokens>
inline void multiply_tokens(const BlockProduct& product, const DigitTokens& x, size_t token) {
  const Destination& to = product.to;
  const size_t line = product.blocks_left * 16;
  for (size_t t = 0; t < kTokens && line < product.rows; ++t) {
    __builtin_prefetch(to.out + (token + t) * to.stride + line, 1);
  }
  const Totals totals = {product.totals.of + token * kIntegerRows, product.totals.none};
  multiply_tile<kTokens>(product.weights, product.scales,
                         BlockTokens<kTokens>(x, token, product.block), product.steps, totals);
  if (product.blocks_left != 0) return;
  for (size_t t = 0; t < kTokens; ++t) {
    Floats of_token[kIntegerVectors];
    for (size_t v = 0; v < kIntegerVectors; ++v) {
      of_token[v] = load(totals.of + t * kIntegerRows + v * Floats::kWidth);
    }
    store_token(of_token, token + t, product.rows, 0, to);
  }
}

// All tokens times a block; meanwhile the next one's rows come nearer.
inline void multiply_block(const BlockProduct& product, const DigitTokens& x, size_t tokens,
                           const PanelRows& next) {
  const size_t tiles = (tokens + kIntegerTokens - 1) / kIntegerTokens;
  const size_t rows_a_tile = (kIntegerRows + tiles - 1) / tiles;
  size_t token = 0, ahead = 0;
  for (; token + kIntegerTokens <= tokens; token += kIntegerTokens, ahead += rows_a_tile) {
    next.prefetch(ahead, ahead + rows_a_tile);
    multiply_tokens<kIntegerTokens>(product, x, token);
  }
  next.prefetch(ahead, kIntegerRows);
  if (token + 4 <= tokens) multiply_tokens<4>(product, x, token), token += 4;
  if (token + 2 <= tokens) multiply_tokens<2>(product, x, token), token += 2;
  if (token < tokens) multiply_tokens<1>(product, x, token);
}

// The tokens from `first` on.
inline DigitTokens tokens_from(DigitTokens x, size_t first) {
  const size_t values = first * x.columns;
  x.high += values;
  x.low += values;
  x.scales += values / 32;
  x.steps += values / 32;
  x.starts += values / kSparseBlock;
  return x;
}

// So many tokens' digits of so many columns, and their totals, stay in the second-level cache while
// panels pass. Few tokens could have more columns, but then a token's sum would depend on how many
// there are beside it.
constexpr size_t kTokensAtOnce = 512, kColumnsAtOnce = 2048;
constexpr size_t kPanelBytes = kBlockBytes + kTokensAtOnce * kIntegerRows * sizeof(float);

template <class F>
void integer_gemm(const WeightRows& w, const DigitTokens& all, size_t all_tokens, uint8_t* memory,
                  const Destination& whole) {
  const Panel<F> panel(memory, kSparseBlock, 2 * kToRests);
  auto* totals = reinterpret_cast<float*>(memory + kBlockBytes);
  const size_t width = w.row_bytes / F::kBytes * (F::kSuper ? 256 : 32);
  for (size_t token = 0; token < all_tokens; token += kTokensAtOnce) {
    const size_t left = all_tokens - token;
    const size_t tokens = left < kTokensAtOnce ? left : kTokensAtOnce;
    const DigitTokens x = tokens_from(all, token);
    for (size_t first = 0; first < width; first += kColumnsAtOnce) {
      const size_t end = width - first < kColumnsAtOnce ? width : first + kColumnsAtOnce;
      for (size_t row = 0; row < w.rows; row += kIntegerRows) {
        Destination to = whole;
        to.out += token * to.stride + row;
        to.bias = to.bias == nullptr || first != 0 ? nullptr : to.bias + row;
        to.add |= first != 0;
        for (size_t column = first; column < end; column += kSparseBlock) {
          const PanelRows from = PanelRows::of<F>(w, row, column, kSparseBlock);
          unpack_block<F>(from, panel);
          const size_t behind = column + kSparseBlock;
          PanelRows next = {};
          if (behind < end) {
            next = PanelRows::of<F>(w, row, behind, kSparseBlock);
          } else if (row + kIntegerRows < w.rows) {
            next = PanelRows::of<F>(w, row + kIntegerRows, first, kSparseBlock);
          }
          const size_t columns = end - column < kSparseBlock ? end - column : kSparseBlock;
          multiply_block({.weights = panel.bytes,
                          .scales = panel.scales,
                          .block = column / kSparseBlock,
                          .steps = columns / 4,
                          .totals = {totals, column == first},
                          .rows = from.rows,
                          .blocks_left = behind < end ? (end - 1 - column) / kSparseBlock : 0,
                          .to = to},
                         x, tokens, next);
        }
      }
    }
  }
}

}  // namespace
