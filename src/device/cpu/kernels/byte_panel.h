// A block of kSparseBlock columns of a panel for instruction sets that sum products of bytes in 32
// bits (VNNI): weights as bytes under one scale for each row. A body: included by kernels_*.cpp
// after their vector types.
//
// Bytes are weight + 128, as VNNI wants them without sign, and behind them what the rounding took,
// in 256ths, + 128.
#pragma once

#include "device/cpu/kernels/panel.h"

namespace {

using namespace hadal::cpu;

// From a step's bytes to those of its rests.
constexpr size_t kToRests = kSparseBlock * kIntegerRows;
constexpr size_t kBlockBytes = 2 * kToRests + kSparseBlock / 16 * kIntegerRows * 2 * sizeof(float);

// How a format's bytes become numbers around 0 that fill a byte: (byte - kCenter) << kShift. They
// stand for (byte - kCenter) * scale + added, and something is added only in formats with minimums.
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
  // Bits behind the point of 16-bit words that are weights: as many as leave a group's factor 16.
  static constexpr int kFraction = (kReach << kShift) == 128 ? 8 : 7;
  static_assert((kReach << kShift) >= 64);

  static WideInts of(WideInts bytes) {
    if (F::kSigned) return bytes;
    return subtract8(shift_left16<kShift>(bytes),
                     broadcast8(static_cast<int8_t>(kCenter << kShift)));
  }
};

// What a group's centered bytes are multiplied with and what is added, in both 16-bit words of each
// row's lane.
struct GroupFactors {
  WideInts factor, added;
};

// inverse: a byte's share of the block's scale, of each row.
template <class F>
inline GroupFactors group_factors(Floats scale, Floats added, Floats inverse) {
  constexpr int kFraction = Centered<F>::kFraction;
  constexpr int kPlace = 7 + kFraction - Centered<F>::kShift;
  const WideInts factor = to_ints(scale * inverse * broadcast(1 << kPlace));
  // + 128, and a half, so that what is behind the point can be cut off.
  const WideInts more = to_ints(multiply_add(added * inverse, broadcast(1 << kFraction),
                                             broadcast((256 + 1) << (kFraction - 1))));
  return {twice_in_16_bits(factor), twice_in_16_bits(more)};
}

// Bytes of weights, and of what the rounding took from them, in 256ths.
struct Rounded {
  WideInts weights, rests;
};
template <class F>
inline Rounded rounded(WideInts centered, const GroupFactors& by) {
  constexpr int kLeft = 8 - Centered<F>::kFraction;
  const WideInts low_byte = broadcast_ints(0x00ff00ff), high_byte = broadcast_ints(0xff00ff00);
  WideInts even = multiply_rounded16(shift_left16<8>(centered), by.factor);
  WideInts odd = multiply_rounded16(both_bits(centered, high_byte), by.factor);
  even = add16(even, by.added);
  odd = add16(odd, by.added);
  if (kLeft != 0) even = shift_left16<kLeft>(even), odd = shift_left16<kLeft>(odd);
  return {choose_bits(high_byte, odd, shift_right16<8>(even)),
          choose_bits(low_byte, even, shift_left16<8>(odd))};
}

// The factors of the block's groups, of the vector of rows at `row`, from the panel's scales and
// minimums of the file, in whose stead the block's scale comes: scales [kIntegerRows].
template <class F>
inline void block_factors(const Panel<F>& panel, size_t groups, size_t row, GroupFactors* factors) {
  constexpr float kToCenter = static_cast<float>(Centered<F>::kCenter - F::kOffset);
  const auto scale_of = [&](size_t g) { return load(panel.scales + g * kIntegerRows + row); };
  const auto added_of = [&](size_t g) {
    if (!F::kMinimums) return zeros();
    const Floats minimum = load(panel.minimums + g * kIntegerRows + row);
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
  store(panel.scales + row, multiply_add(reach, broadcast(1.0f / 127), damage));
}

// Scales and minimums of whole runs of small blocks that begin with them, to their groups' places.
// A word from memory to one lane of a vector of rows is one instruction on either port; gathering
// them row by row and turning them took half of an unpacking.
template <class F>
inline void collect_scales(const uint8_t* const (&runs)[Floats::kWidth], size_t row,
                           const Panel<F>& panel) {
  WideInts words[8];
  for (WideInts& word : words) word = zero_ints();
#pragma GCC unroll 16
  for (size_t i = 0; i < Floats::kWidth; ++i) {
#pragma GCC unroll 8
    for (size_t g = 0; g < 8; ++g) {
      words[g] = replace_lane(words[g], i, runs[i] + g * F::kBytes);
    }
  }
  for (size_t g = 0; g < 8; ++g) {
    const size_t to = g * kIntegerRows + row;
    store(panel.scales + to, floats_of_low_f16(words[g]));
    if (F::kMinimums) store(panel.minimums + to, floats_of_low_f16(shift_right<16>(words[g])));
  }
}

template <class F>
inline void unpack_block_scales(const uint8_t* const (&runs)[Floats::kWidth], int parts, size_t row,
                                const Panel<F>& panel) {
  if (F::kScaleFirst && parts == 8) return collect_scales<F>(runs, row, panel);
  for (size_t eight = 0; eight < Floats::kWidth; eight += 8) {
    const uint8_t* some[8];
    memcpy(some, runs + eight, sizeof some);
    unpack_scales<F>(some, 0, parts, 0, row + eight, panel);
  }
}

// A vector of rows' centered bytes of the step of four columns that starts at `column`, to their
// place.
template <class F>
inline void store_step(WideInts centered, const GroupFactors& factors, size_t column, size_t row,
                       const Panel<F>& panel) {
  const Rounded both = rounded<F>(centered, factors);
  uint8_t* to = panel.bytes + column * kIntegerRows + row * 4;
  store_ints(to, both.weights);
  store_ints(to + kToRests, both.rests);
}

// The high halves of bytes as centered bytes, where they are numbers of 0 .. 15 around 8.
inline WideInts centered_halves(WideInts packed) {
  return masked_exclusive_or(packed, broadcast_ints(0xf0f0f0f0), broadcast_ints(0x80808080));
}

// 128 columns of formats that keep them in halves of bytes, from part `part` on, are turned before
// they are halved: `take(column, packed)`, of four columns in low halves from `column` on and four
// in high ones kHalfValues behind.
template <class F, typename Take>
[[gnu::always_inline]] inline void turn_halves(const uint8_t* const (&runs)[Floats::kWidth],
                                               int part, int parts, const Take& take) {
  WideInts steps[Floats::kWidth];
#pragma GCC unroll 16
  for (size_t i = 0; i < Floats::kWidth; ++i) {
    steps[i] = wide_quants<F::kQuantsStride>(
        runs[i] + F::kQuants + static_cast<size_t>(part) * F::kQuantsStride, parts - part);
  }
  transpose_words(steps);
  constexpr size_t kHalf = F::kHalfValues;
#pragma GCC unroll 16
  for (size_t i = 0; i < Floats::kWidth; ++i) {
    const size_t at = i / (kHalf / 4) * 2 * kHalf + i % (kHalf / 4) * 4;
    const size_t column = static_cast<size_t>(part) * 32 + at;
    if (column >= static_cast<size_t>(parts) * 32) break;
    take(column, steps[i]);
  }
}

template <class F>
inline void unpack_halves(const uint8_t* const (&runs)[Floats::kWidth], int part, int parts,
                          const GroupFactors* factors, size_t row, const Panel<F>& panel) {
  constexpr size_t kHalf = F::kHalfValues;
  turn_halves<F>(runs, part, parts, [&](size_t column, WideInts packed) {
    WideInts low, high;
    if constexpr (F::kMaximum == 15) {
      low = centered_halves(shift_left16<4>(packed)), high = centered_halves(packed);
    } else {
      low = Centered<F>::of(F::finish(low_halves(packed)));
      high = Centered<F>::of(F::finish(high_halves(packed)));
    }
    store_step<F>(low, factors[column / 32], column, row, panel);
    store_step<F>(high, factors[(column + kHalf) / 32], column + kHalf, row, panel);
  });
}

// 64 columns of any format, from part `part` on.
template <class F>
inline void unpack_parts(const uint8_t* const (&runs)[Floats::kWidth], int part, int parts,
                         const GroupFactors* factors, size_t row, const Panel<F>& panel) {
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
    store_step<F>(Centered<F>::of(steps[i]), factors[column / F::kGroup], column, row, panel);
  }
}

// The next block of the rows: its bytes, its rests and its scales.
template <class F>
[[gnu::noinline]] void unpack_block(const PanelRows& from, const Panel<F>& panel) {
  constexpr size_t kRows = Floats::kWidth;
  const int parts = from.bytes < kRunBytes<F> ? static_cast<int>(from.bytes / F::kBytes) : 8;
  for (size_t row = 0; row < kIntegerRows; row += kRows) {
    const uint8_t* rows[kRows];
    take_rows(from, row, rows);
    unpack_block_scales<F>(rows, parts, row, panel);
    GroupFactors factors[kSparseBlock / F::kGroup];
    block_factors<F>(panel, static_cast<size_t>(parts) * 32 / F::kGroup, row, factors);
    if constexpr (F::kHalfValues != 0 && F::kFifthBits == 0) {
      for (int part = 0; part < parts; part += kWideGroups) {
        unpack_halves<F>(rows, part, parts, factors, row, panel);
      }
    } else {
#pragma GCC unroll 4
      for (int part = 0; part < parts; part += kWideParts) {
        unpack_parts<F>(rows, part, parts, factors, row, panel);
      }
    }
  }
}

}  // namespace
