// Many tokens times a panel on instruction sets that sum products of bytes in 32 bits (VNNI). A
// body: included by kernels_*.cpp after their vector types.
//
// A group of 32 weights is over after eight instructions, and to take its sums to floats and times
// its scale costs two more and a wait. So a panel's weights are rounded to bytes under one scale
// for each row's block of kSparseBlock columns, the length that shares a scale in the tokens as
// well: sums stay whole numbers for 64 instructions. The rounding is at most half of 1 / 127 of
// what a block's weights can reach: for 4-bit weights a sixteenth of their own. Where activations
// are outliers even that would show, so what it took from a weight is kept as a second byte, 7 bits
// of it, and multiplied with the high digits, which outliers alone have: the products of a token
// that has them everywhere are as good as exact.
//
// Bytes are weight + 128, as VNNI wants them without sign, and rest + 64; a token's sums start at
// what these add (DigitTokens::starts).
#pragma once

#include "device/cpu/kernels/panel.h"
#include "device/cpu/kernels/tile.h"

namespace {

using namespace hadal::cpu;

constexpr size_t kPanelBytes = kUnpackedBytes + kChunk * kIntegerRows;

// How a format's bytes become numbers around 0 that fill a byte: (byte << kShift) - (kCenter <<
// kShift). They stand for (byte - kCenter) * scale + added, and something is added only in formats
// with minimums.
template <class F>
struct Centered {
  static constexpr int kLeast = F::kSigned ? -128 : 0;
  static constexpr int kCenter = F::kMinimums ? (F::kMaximum + 1) / 2 : F::kOffset;
  static constexpr int kReach =
      F::kSigned || kCenter > F::kMaximum - kCenter ? kCenter - kLeast : F::kMaximum - kCenter;
  static constexpr int shift() {
    int shift = 0;
    while (!F::kSigned && (F::kMaximum << (shift + 1)) <= 255 && (kReach << (shift + 1)) <= 128) {
      ++shift;
    }
    return shift;
  }
  static constexpr int kShift = shift();
  static_assert((kReach << kShift) >= 64, "its factors would exceed 16 bits");
};

// What a group's centered bytes are multiplied with and what is added, of a vector of rows, as
// 16-bit words of rows whose bytes lie in the low and the high halves of 128-bit lanes.
struct GroupFactors {
  WideInts low_factor, high_factor, low_added, high_added;
};

// inverse: a byte's share of the block's scale, of each row. Words have 7 bits behind the point.
template <class F>
inline GroupFactors group_factors(Floats scale, Floats added, Floats inverse) {
  constexpr int kFraction = 14 - Centered<F>::kShift;
  const Floats factor = scale * inverse * broadcast(1 << kFraction);
  const WideInts factors = twice_in_16_bits(to_ints(factor));
  // + 128, and a half, so that the bits behind the point can be cut off.
  const WideInts more = twice_in_16_bits(
      to_ints(multiply_add(added * inverse, broadcast(128), broadcast(128 * 128 + 64))));
  return {interleave_low32(factors, factors), interleave_high32(factors, factors),
          interleave_low32(more, more), interleave_high32(more, more)};
}

// Bytes of weights, and of what the rounding took from them, in 128ths.
struct Rounded {
  WideInts weights, rests;
};
template <class F>
inline Rounded rounded(WideInts bytes, const GroupFactors& by) {
  constexpr int kShift = Centered<F>::kShift;
  if (!F::kSigned) {
    bytes = subtract8(shift_left16<kShift>(bytes),
                      broadcast8(static_cast<int8_t>(Centered<F>::kCenter << kShift)));
  }
  const WideInts low =
      add16(multiply_rounded16(interleave_low8(zero_ints(), bytes), by.low_factor), by.low_added);
  const WideInts high = add16(
      multiply_rounded16(interleave_high8(zero_ints(), bytes), by.high_factor), by.high_added);
  const WideInts fraction = broadcast_ints(0x007f007f);
  return {pack_unsigned(shift_right16<7>(low), shift_right16<7>(high)),
          pack_unsigned(both_bits(low, fraction), both_bits(high, fraction))};
}

// The factors of a block's groups, of the vector of rows at `row`, from the panel's scales and
// minimums of the file, in whose stead the block's scale comes: scales [columns /
// kSparseBlock][kIntegerRows].
template <class F>
inline void block_factors(const Panel<F>& panel, size_t block, size_t groups, size_t row,
                          GroupFactors* factors) {
  constexpr float kToCenter = static_cast<float>(Centered<F>::kCenter - F::kOffset);
  const size_t first = block * (kSparseBlock / F::kGroup);
  const auto scale_of = [&](size_t g) {
    return load(panel.scales + (first + g) * kIntegerRows + row);
  };
  const auto added_of = [&](size_t g) {
    if (!F::kMinimums) return zeros();
    const Floats minimum = load(panel.minimums + (first + g) * kIntegerRows + row);
    return multiply_add(scale_of(g), broadcast(kToCenter), minimum);
  };
  Floats reach = zeros(), damage = zeros();  // damage: 0, and NaN where a scale is no number
  for (size_t g = 0; g < groups; ++g) {
    const Floats of_bytes = absolute(scale_of(g)) * broadcast(Centered<F>::kReach);
    const Floats of_group = of_bytes + absolute(added_of(g));
    reach = greater(of_group, reach);
    damage = multiply_add(of_group, zeros(), damage);
  }
  // Where it is next to nothing all is 0 times it.
  const Floats inverse = zero_below(broadcast(127) / reach, reach, broadcast(1e-30f));
  for (size_t g = 0; g < groups; ++g) {
    factors[g] = group_factors<F>(scale_of(g), added_of(g), inverse);
  }
  store(panel.scales + block * kIntegerRows + row,
        multiply_add(reach, broadcast(1.0f / 127), damage));
}

// A vector of rows' bytes of the step of four columns that starts at `column`, to their place.
template <class F>
inline void store_step(WideInts bytes, const GroupFactors& factors, size_t column, size_t row,
                       const Panel<F>& panel) {
  const Rounded both = rounded<F>(bytes, factors);
  uint8_t* to = panel.bytes + column * kIntegerRows + row * 4;
  store_ints(to, both.weights);
  store_ints(to + kUnpackedBytes, both.rests);
}

// 128 columns of formats that keep them in halves of bytes, from part `part` on: turned before they
// are halved.
template <class F>
inline void unpack_halves(const uint8_t* const (&runs)[Floats::kWidth], int part, int parts,
                          const GroupFactors* factors, size_t first_column, size_t row,
                          const Panel<F>& panel) {
  WideInts steps[Floats::kWidth];
#pragma GCC unroll 16
  for (size_t i = 0; i < Floats::kWidth; ++i) {
    steps[i] = wide_quants<F::kQuantsStride>(
        runs[i] + F::kQuants + static_cast<size_t>(part) * F::kQuantsStride, parts - part);
  }
  transpose_words(steps);
  for (int g = 0; g < kWideGroups && part + g < parts; ++g) {
    const size_t column = first_column + static_cast<size_t>(part + g) * 32;
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {
      const WideInts packed = steps[static_cast<size_t>(g) * 4 + i];
      store_step<F>(F::finish(low_halves(packed)), factors[part + g], column + i * 4, row, panel);
      store_step<F>(F::finish(high_halves(packed)), factors[part + g], column + 16 + i * 4, row,
                    panel);
    }
  }
}

// 64 columns of any format, from part `part` on.
template <class F>
inline void unpack_parts(const uint8_t* const (&runs)[Floats::kWidth], int part, int parts,
                         const GroupFactors* factors, size_t first_column, size_t row,
                         const Panel<F>& panel) {
  WideInts steps[Floats::kWidth];
#pragma GCC unroll 16
  for (size_t i = 0; i < Floats::kWidth; ++i) {
    steps[i] = wide_values<F>(runs[i], part / kWideParts, parts);
  }
  transpose_words(steps);
#pragma GCC unroll 16
  for (size_t i = 0; i < Floats::kWidth; ++i) {
    const size_t column = static_cast<size_t>(part) * 32 + i * 4;
    if (column >= static_cast<size_t>(parts) * 32) break;
    store_step<F>(steps[i], factors[column / F::kGroup], first_column + column, row, panel);
  }
}

// The panel's bytes, behind it those of the rests, and the blocks' scales.
template <class F>
[[gnu::noinline]] void unpack_panel(const PanelRows& from, const Panel<F>& panel) {
  constexpr size_t kRows = Floats::kWidth, kGroups = kSparseBlock / F::kGroup;
  for (size_t row = 0; row < kIntegerRows; row += kRows) {
    const uint8_t* rows[kRows];
    take_rows(from, row, rows);
    for (size_t block = 0, at = 0; at < from.bytes; ++block, at += kRunBytes<F>) {
      const size_t left = from.bytes - at;
      const int parts = left < kRunBytes<F> ? static_cast<int>(left / F::kBytes) : 8;
      for (size_t eight = 0; eight < kRows; eight += 8) {
        const uint8_t* some[8];
        memcpy(some, rows + eight, sizeof some);
        unpack_scales<F>(some, at, parts, block * kGroups, row + eight, panel);
      }
      GroupFactors factors[kGroups];
      block_factors<F>(panel, block, static_cast<size_t>(parts) * 32 / F::kGroup, row, factors);
      const uint8_t* runs[kRows];
      for (size_t i = 0; i < kRows; ++i) runs[i] = rows[i] + at;
      const size_t first_column = block * kSparseBlock;
      if constexpr (F::kHalves && F::kFifthBits == 0) {
        for (int part = 0; part < parts; part += kWideGroups) {
          unpack_halves<F>(runs, part, parts, factors, first_column, row, panel);
        }
      } else {
#pragma GCC unroll 4
        for (int part = 0; part < parts; part += kWideParts) {
          unpack_parts<F>(runs, part, parts, factors, first_column, row, panel);
        }
      }
    }
  }
}

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
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) sums[v][kFirst + t] = rests[v][t] = zero_ints();
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
      const WideInts rest = load_ints(of_step + kUnpackedBytes + v * kWidth * 4);
#pragma GCC unroll 8
      for (int t = 0; t < kCount; ++t) {
        add_dots(sums[v][kFirst + t], weight, digits[t]);
        add_dots(rests[v][t], rest, digits[t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kCount; ++t) {
    const WideInts start = broadcast_ints(static_cast<uint32_t>(x.starts[kFirst + t]));
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) {
      WideInts& sum = sums[v][kFirst + t];
      sum = add_ints(add_ints(shift_left<kDigitBits>(sum), rests[v][t]), start);
    }
  }
}

// A tile's sums so far, of each token one for each of the panel's rows.
template <int kTokens>
struct alignas(64) TileTotals {
  float of[kTokens][kIntegerRows] = {};
};

// A block of `steps` steps: totals += products * scales.
template <int kTokens>
[[gnu::always_inline]] inline void multiply_block(const uint8_t* weights, const float* scales,
                                                  const BlockTokens<kTokens>& x, size_t steps,
                                                  TileTotals<kTokens>& totals) {
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
      float* total = totals.of[t] + v * kWidth;
      store(total,
            multiply_add(to_floats(sums[v][t]), scale * broadcast(x.scales[t]), load(total)));
    }
  }
}

template <int kTokens>
[[gnu::noinline]] void multiply_tile(const uint8_t* weights, const float* scales, size_t columns,
                                     const DigitTokens& x, size_t first_token, size_t rows,
                                     size_t first_row, const Destination& to) {
  TileTotals<kTokens> totals;
  for (size_t block = 0, first = 0; first < columns; ++block, first += kSparseBlock) {
    // The places of the results, which lie far apart, are fetched while the products are made, at
    // each block a line of each token, as more at once would wait for one another.
    for (size_t t = 0; t < kTokens && block * 16 < rows; ++t) {
      __builtin_prefetch(to.out + (first_token + t) * to.stride + first_row + block * 16, 1);
    }
    const size_t left = columns - first;
    multiply_block<kTokens>(weights + first * kIntegerRows, scales + block * kIntegerRows,
                            BlockTokens<kTokens>(x, first_token, block),
                            (left < kSparseBlock ? left : kSparseBlock) / 4, totals);
  }
  for (size_t t = 0; t < kTokens; ++t) {
    Floats of_token[kIntegerVectors];
    for (size_t v = 0; v < kIntegerVectors; ++v) {
      of_token[v] = load(totals.of[t] + v * Floats::kWidth);
    }
    store_token(of_token, first_token + t, rows, first_row, to);
  }
}

// The tile is the same for every format.
template <class F, int kTokens>
void multiply_tokens(const Panel<F>& panel, size_t columns, const DigitTokens& x,
                     size_t first_token, size_t rows, size_t first_row, const Destination& to) {
  multiply_tile<kTokens>(panel.bytes, panel.scales, columns, x, first_token, rows, first_row, to);
}

}  // namespace
