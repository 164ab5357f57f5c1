// Dozens of tokens times 4-bit weights as the file has them, on instruction sets that sum products
// of bytes in 32 bits and have registers enough (512-bit VNNI). A body: included by kernels_*.cpp
// after their vector types.
//
// To round weights to bytes of a common scale (byte_panel.h) takes as long as to multiply them with
// a dozen tokens. 4-bit weights are spared it: the products of a group of 32, each at most 8 * 127,
// fit in 16 bits, and so a group's scale may be a whole number of 14 bits (the file's has 11)
// relative to the greatest of the row's block, multiplied and summed by one instruction for eight
// that multiply weights. The block's sums then lie in 32 bits, and in the first-level cache, as all
// registers hold the group's.
//
// Bytes are weight + 8, as VNNI wants them without sign; a group's sums start at what that adds
// (DigitTokens::group_starts).
#pragma once

#include "device/cpu/kernels/block_gemm.h"
#include "device/cpu/kernels/byte_panel.h"

namespace {

using namespace hadal::cpu;

template <class F>
constexpr bool kIsNibbles = F::kMaximum == 15 && F::kOffset == 8 && F::kGroup == 32 &&
                            !F::kMinimums && F::kHalfValues != 0 && F::kFifthBits == 0;

// Eight groups' sums times it, and 64 steps' of high digits, stay below 2^31.
constexpr float kScaleMost = 8192;

// A block: bytes [64 steps][kIntegerRows][4]; each group's scale in the low halves of words
// [8][kIntegerRows], where first the file's scales lie; what these are parts of [kIntegerRows].
struct NibblePanel {
  static constexpr size_t kGroups = kSparseBlock / 32;
  static constexpr size_t kBytes = (kSparseBlock + (kGroups + 1) * sizeof(float)) * kIntegerRows;
  uint8_t* bytes;
  float* file_scales;
  float* scales;
  explicit NibblePanel(uint8_t* memory)
      : bytes(memory),
        file_scales(reinterpret_cast<float*>(memory + kSparseBlock * kIntegerRows)),
        scales(file_scales + kGroups * kIntegerRows) {}
  const uint8_t* group_scales(size_t group) const {
    return reinterpret_cast<const uint8_t*>(file_scales + group * kIntegerRows);
  }
};

// A vector of rows' scales as whole numbers, in the place of the file's.
inline void round_scales(const NibblePanel& panel, size_t groups, size_t row) {
  const auto scale_of = [&](size_t g) { return panel.file_scales + g * kIntegerRows + row; };
  Floats reach = zeros(), damage = zeros();  // damage: 0, and NaN where a scale is no number
  for (size_t g = 0; g < groups; ++g) {
    const Floats size = absolute(load(scale_of(g)));
    reach = greater(size, reach);
    damage = multiply_add(size, zeros(), damage);
  }
  // Where it is next to nothing all is 0 times it.
  const Floats inverse = zero_below(broadcast(kScaleMost) / reach, reach, broadcast(1e-30f));
  for (size_t g = 0; g < groups; ++g) {
    const WideInts whole = to_ints(load(scale_of(g)) * inverse);
    store_ints(scale_of(g), both_bits(whole, broadcast_ints(0xffff)));
  }
  store(panel.scales + row, multiply_add(reach, broadcast(1 / kScaleMost), damage));
}

template <class F>
[[gnu::noinline]] void unpack_nibbles(const PanelRows& from, const NibblePanel& panel) {
  constexpr size_t kRows = Floats::kWidth;
  const int parts = from.bytes < kRunBytes<F> ? static_cast<int>(from.bytes / F::kBytes) : 8;
  const Panel<F> in_file(panel.bytes, kSparseBlock, kSparseBlock * kIntegerRows);  // its scales
  for (size_t row = 0; row < kIntegerRows; row += kRows) {
    const uint8_t* rows[kRows];
    take_rows(from, row, rows);
    unpack_block_scales<F>(rows, parts, row, in_file);
    round_scales(panel, static_cast<size_t>(parts), row);
    for (int part = 0; part < parts; part += kWideGroups) {
      turn_halves<F>(rows, part, parts, [&](size_t column, WideInts packed) {
        uint8_t* to = panel.bytes + column * kIntegerRows + row * 4;
        store_ints(to, low_halves(packed));
        store_ints(to + F::kHalfValues * kIntegerRows, high_halves(packed));
      });
    }
  }
}

// What a tile takes of its tokens' block.
template <int kTokens>
struct NibbleTokens {
  const int8_t *high, *low;  // of the first; `stride` behind are the next one's
  const int32_t* starts;     // of the first's groups; stride / 32 behind are the next one's
  size_t stride;
  uint64_t outliers[kTokens];  // bit i: columns 4 i .. have a high digit
  float scales[kTokens];

  NibbleTokens(const DigitTokens& x, size_t first_token, size_t block)
      : high(x.high + first_token * x.columns + block * kSparseBlock),
        low(x.low + first_token * x.columns + block * kSparseBlock),
        starts(x.group_starts + (first_token * x.columns + block * kSparseBlock) / 32),
        stride(x.columns) {
    for (size_t t = 0; t < kTokens; ++t) {
      const size_t group = ((first_token + t) * x.columns + block * kSparseBlock) / 32;
      memcpy(&outliers[t], x.steps + group, sizeof(uint64_t));
      scales[t] = x.scales[group];
    }
  }
};

// The high digits of tokens [kFirst, kFirst + kCount): the steps that one of them has are
// multiplied for all. totals += theirs.
template <int kFirst, int kCount, int kTokens>
[[gnu::always_inline]] inline void add_outliers(const NibblePanel& panel,
                                                const NibbleTokens<kTokens>& x,
                                                const Totals& totals) {
  constexpr size_t kWidth = Floats::kWidth;
  uint64_t steps = 0;
  for (int t = 0; t < kCount; ++t) steps |= x.outliers[kFirst + t];
  if (steps == 0) return;
  WideInts sums[kIntegerVectors][kCount];
#pragma GCC unroll 8
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) sums[v][t] = zero_ints();
  }
  for (; steps != 0; steps &= steps - 1) {
    const size_t step = static_cast<size_t>(__builtin_ctzll(steps));
    const uint8_t* weights = panel.bytes + step * kIntegerRows * 4;
    const uint8_t* scales = panel.group_scales(step / 8);
#pragma GCC unroll 8
    for (int t = 0; t < kCount; ++t) {
      const WideInts digits = broadcast_in_place(x.high + (kFirst + t) * x.stride + step * 4);
      WideInts offset = zero_ints();
      add_dots(offset, broadcast8(8), digits);
      const WideInts start = subtract_ints(zero_ints(), offset);
#pragma GCC unroll 8
      for (int v = 0; v < kIntegerVectors; ++v) {
        WideInts products = start;
        add_dots(products, load_ints(weights + v * kWidth * 4), digits);
        add_low_products(sums[v][t], products, load_ints(scales + v * kWidth * 4));
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kCount; ++t) {
    const Floats of_token = broadcast(x.scales[kFirst + t] * (1 << kDigitBits));
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) {
      float* total = totals.of + (kFirst + t) * kIntegerRows + v * kWidth;
      const Floats scale = load(panel.scales + v * kWidth) * of_token;
      store(total, multiply_add(to_floats(sums[v][t]), scale, load(total)));
    }
  }
}

// A block of `groups` groups: totals of the tokens = or += products * scales.
template <int kTokens>
[[gnu::noinline]] void multiply_nibbles(const NibblePanel& panel, const NibbleTokens<kTokens>& x,
                                        size_t groups, const Totals& totals, LinesAhead& next) {
  constexpr size_t kWidth = Floats::kWidth;
  alignas(64) int32_t block_sums[kTokens][kIntegerRows];
  LinesAhead ahead = next;
  for (size_t g = 0; g < groups; ++g) {
    WideInts sums[kIntegerVectors][kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
      for (int v = 0; v < kIntegerVectors; ++v) {
        sums[v][t] =
            broadcast_in_place(reinterpret_cast<const int8_t*>(x.starts + t * (x.stride / 32) + g));
      }
    }
    const uint8_t* weights = panel.bytes + g * 32 * kIntegerRows;
    const int8_t* low = x.low + g * 32;
#pragma GCC unroll 2
    for (size_t step = 0; step < 8; ++step, weights += kIntegerRows * 4, low += 4) {
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
#pragma GCC unroll 8
    for (int v = 0; v < kIntegerVectors; ++v) {
      const WideInts scale = load_ints(panel.group_scales(g) + v * kWidth * 4);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        int32_t* to = block_sums[t] + v * kWidth;
        WideInts sum = g == 0 ? zero_ints() : load_ints(to);
        add_low_products(sum, sums[v][t], scale);
        store_ints(to, sum);
      }
    }
  }
  next = ahead;
#pragma GCC unroll 8
  for (int v = 0; v < kIntegerVectors; ++v) {
    const Floats scale = load(panel.scales + v * kWidth);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      float* total = totals.of + static_cast<size_t>(t) * kIntegerRows + v * kWidth;
      const Floats before = totals.none ? zeros() : load(total);
      const Floats sum = to_floats(load_ints(block_sums[t] + v * kWidth));
      store(total, multiply_add(sum, scale * broadcast(x.scales[t]), before));
    }
  }
  // By twos: more have more steps that are another's, fewer more ends of loops.
  add_outliers<0, kTokens == 1 ? 1 : 2>(panel, x, totals);
  if constexpr (kTokens > 2) add_outliers<2, 2>(panel, x, totals);
  if constexpr (kTokens > 4) add_outliers<4, 2>(panel, x, totals);
}

// As block_gemm.h takes it.
template <class F>
struct NibbleBlocks {
  static constexpr size_t kBytes = NibblePanel::kBytes;
  static void unpack(const PanelRows& from, uint8_t* memory) {
    unpack_nibbles<F>(from, NibblePanel(memory));
  }
  template <int kTokens>
  static void multiply(const BlockProduct& product, const DigitTokens& x, size_t token,
                       const Totals& totals, LinesAhead& next) {
    multiply_nibbles<kTokens>(NibblePanel(product.memory),
                              NibbleTokens<kTokens>(x, token, product.block), product.columns / 32,
                              totals, next);
  }
};

}  // namespace
