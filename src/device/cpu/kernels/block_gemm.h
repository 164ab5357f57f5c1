// Many tokens times rows whose weights are unpacked a block of kSparseBlock columns of a panel at a
// time, so that a block stays in the first-level cache while all tokens pass. What the block holds
// and how it is multiplied is the matter of a kind of blocks (byte_tile.h, nibble_tile.h). A body:
// included by kernels_*.cpp after their vector types.
#pragma once

#include "device/cpu/kernels/panel.h"
#include "device/cpu/kernels/tile.h"

namespace {

using namespace hadal::cpu;

// Sums of blocks so far, of each token one for each of the panel's rows: [tokens][kIntegerRows].
struct Totals {
  float* of;
  bool none;  // yet: what is there is not read
};

// A block of a panel and all tokens' totals.
struct BlockProduct {
  uint8_t* memory;  // the unpacked block
  size_t block, columns;
  Totals totals;
  size_t rows;         // of the panel that are real
  size_t blocks_left;  // behind this one
  Destination to;      // at the panel's first row
};

// A product's places, which lie far apart, are fetched while its last blocks are multiplied, a line
// of each token at each.
template <class Blocks, int kTokens>
inline void multiply_tokens(const BlockProduct& product, const DigitTokens& x, size_t token,
                            LinesAhead& next) {
  const Destination& to = product.to;
  const size_t line = product.blocks_left * 16;
  for (size_t t = 0; t < kTokens && line < product.rows; ++t) {
    __builtin_prefetch(to.out + (token + t) * to.stride + line, 1);
  }
  const Totals totals = {product.totals.of + token * kIntegerRows, product.totals.none};
  Blocks::template multiply<kTokens>(product, x, token, totals, next);
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
template <class Blocks>
void multiply_block(const BlockProduct& product, const DigitTokens& x, size_t tokens,
                    const PanelRows& next) {
  LinesAhead ahead(next);
  size_t token = 0;
  for (; token + kIntegerTokens <= tokens; token += kIntegerTokens) {
    multiply_tokens<Blocks, kIntegerTokens>(product, x, token, ahead);
  }
  if (token + 4 <= tokens) multiply_tokens<Blocks, 4>(product, x, token, ahead), token += 4;
  if (token + 2 <= tokens) multiply_tokens<Blocks, 2>(product, x, token, ahead), token += 2;
  if (token < tokens) multiply_tokens<Blocks, 1>(product, x, token, ahead);
  ahead.fetch_rows(kIntegerRows);
}

// The tokens from `first` on.
inline DigitTokens tokens_from(DigitTokens x, size_t first) {
  const size_t values = first * x.columns;
  x.high += values;
  x.low += values;
  x.scales += values / 32;
  x.steps += values / 32;
  x.starts += values / kSparseBlock;
  x.group_starts += values / 32;
  return x;
}

// So many tokens' digits of so many columns, and their totals, stay in the second-level cache while
// panels pass. Few tokens could have more columns, but then a token's sum would depend on how many
// there are beside it.
constexpr size_t kTokensAtOnce = 512, kColumnsAtOnce = 2048;
constexpr size_t kTotalsBytes = kTokensAtOnce * kIntegerRows * sizeof(float);

// memory: kTotalsBytes + Blocks::kBytes.
template <class F, class Blocks>
void gemm_by_blocks(const WeightRows& w, const DigitTokens& all, size_t all_tokens, uint8_t* memory,
                    const Destination& whole) {
  auto* totals = reinterpret_cast<float*>(memory);
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
          Blocks::unpack(from, memory + kTotalsBytes);
          const size_t behind = column + kSparseBlock;
          PanelRows next = from;  // where none is
          if (behind < end) {
            next = PanelRows::of<F>(w, row, behind, kSparseBlock);
          } else if (row + kIntegerRows < w.rows) {
            next = PanelRows::of<F>(w, row + kIntegerRows, first, kSparseBlock);
          }
          multiply_block<Blocks>(
              {.memory = memory + kTotalsBytes,
               .block = column / kSparseBlock,
               .columns = end - column < kSparseBlock ? end - column : kSparseBlock,
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
