// Quantised weights times many tokens: panel by panel. A panel of rows is unpacked once,
// interleaved so that a lane of the sums is a row: no sums across lanes, and one load of weights
// serves a tile of tokens. A body: included by kernels_*.cpp after their vector types.
#pragma once

#if defined(__AVX512VNNI__)
#include "device/cpu/kernels/byte_tile.h"
#else
#include "device/cpu/kernels/group_tile.h"
#endif

namespace {

using namespace hadal::cpu;

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
  size_t token = 0, ahead = 0;
  for (; token + kIntegerTokens <= tokens; token += kIntegerTokens, ahead += rows_a_tile) {
    next.prefetch(ahead, ahead + rows_a_tile);
    multiply_tokens<F, kIntegerTokens>(panel, columns, x, token, rows, first_row, to);
  }
  next.prefetch(ahead, kIntegerRows);
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
  const size_t chunks = chunks_of(width), panels = (w.rows + kIntegerRows - 1) / kIntegerRows;
  // Chunk by chunk where the digits of all are too many; else as the rows lie in memory.
  const bool by_chunk = tokens * width > kDigitsAtOnce;
  const auto chunk_of = [&](size_t i) { return by_chunk ? i / panels : i % chunks; };
  const auto panel_of = [&](size_t i) { return by_chunk ? i % panels : i / chunks; };
  const auto rows_of = [&](size_t i) {
    return PanelRows::of<F>(w, panel_of(i) * kIntegerRows, chunk_of(i) * kChunk);
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
