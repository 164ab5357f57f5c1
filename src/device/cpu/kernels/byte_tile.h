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

#include "device/cpu/kernels/block_gemm.h"
#include "device/cpu/kernels/byte_panel.h"

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

// A block of `steps` steps: totals of the tokens = or += products * scales.
template <int kTokens>
[[gnu::noinline]] void multiply_tile(const uint8_t* weights, const float* scales,
                                     const BlockTokens<kTokens>& x, size_t steps,
                                     const Totals& totals, LinesAhead& next) {
  constexpr size_t kWidth = Floats::kWidth;
  WideInts sums[kIntegerVectors][kTokens];
  // By twos: more have more steps that are another's, fewer more ends of loops.
  constexpr int kFirst = kTokens == 1 ? 1 : 2;
  multiply_outliers<0, kFirst>(weights, x, sums);
  if constexpr (kTokens > 2) multiply_outliers<2, 2>(weights, x, sums);
  if constexpr (kTokens > 4) multiply_outliers<4, 2>(weights, x, sums);
  const int8_t* low = x.low;
  LinesAhead ahead = next;
  for (size_t step = 0; step < steps; ++step, weights += kIntegerRows * 4, low += 4) {
    ahead.fetch_one();
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
  next = ahead;
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

// The way of byte_panel.h, as block_gemm.h takes it.
template <class F>
struct ByteBlocks {
  static constexpr size_t kBytes = kBlockBytes;
  static void unpack(const PanelRows& from, uint8_t* memory) {
    unpack_block<F>(from, panel_at(memory));
  }
  template <int kTokens>
  static void multiply(const BlockProduct& product, const DigitTokens& x, size_t token,
                       const Totals& totals, LinesAhead& next) {
    const Panel<F> panel = panel_at(product.memory);
    multiply_tile<kTokens>(panel.bytes, panel.scales, BlockTokens<kTokens>(x, token, product.block),
                           product.columns / 4, totals, next);
  }

 private:
  static Panel<F> panel_at(uint8_t* memory) { return {memory, kSparseBlock, 2 * kToRests}; }
};

}  // namespace
