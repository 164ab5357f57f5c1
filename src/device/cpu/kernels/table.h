// The CPU device's kernels, one table of functions an instruction set. This header enters files
// that are compiled for instruction sets the machine may lack, so it holds plain C types alone: an
// inline function or template here could be merged by the linker into code that runs everywhere.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace hadal::cpu {

// The formats that have kernels, in the order of KernelTable's arrays (QuantType is not for these
// files).
enum IntegerFormat : int {
  kInt_Q4_0,
  kInt_Q4_1,
  kInt_Q5_0,
  kInt_Q5_1,
  kInt_Q8_0,
  kInt_Q2_K,
  kInt_Q3_K,
  kInt_Q4_K,
  kInt_Q5_K,
  kInt_Q6_K,
  kInt_IQ4_NL,
  kInt_IQ4_XS,
  kInt_MXFP4,
  kInt_IQ1_S,
  kInt_IQ1_M,
  kInt_IQ2_XXS,
  kInt_IQ2_XS,
  kInt_IQ2_S,
  kInt_IQ3_XXS,
  kInt_IQ3_S,
  kIntegerFormats,
};
enum FloatFormat : int { kFloat_F32, kFloat_F16, kFloat_BF16, kFloat_F8, kFloatFormats };

// Tokens of activations as numbers of two signed digits: value = (high * 128 + low) * scale
// (cpu_matmul.cpp says why two). Tokens lie one behind the other, each array with its own length a
// token. A token has one of two forms.
//
// Fine, for gemv: a scale for each 32 values, about 15 bits for the greatest; both digits are
// always multiplied.
//
// Sparse, for gemm: a scale for each kSparseBlock values, such that the low digit alone holds all
// but the rare great ones; the high digit is 0 but for those, and only the steps of four columns
// that have one are multiplied a second time.
//
// Crossed order: of each 128 columns the first halves of the four groups of 32, then the second
// ones. So 16 bytes each of four blocks of four-bit values, which lie so in most files, meet their
// digits after one mask and after one shift.
constexpr int kDigitBits = 7;
constexpr size_t kSparseBlock = 256;
struct DigitTokens {
  size_t columns;        // those of the weights, rounded up to 256; what is behind them is 0
  int8_t* high;          // [tokens][columns], in -127 .. 127
  int8_t* low;           // [tokens][columns], in -64 .. 64; sparse: in -127 .. 127
  int8_t* crossed_high;  // fine: the same in crossed order
  int8_t* crossed_low;
  uint8_t* steps;  // sparse: [tokens][columns / 32]: bit i: columns 4 i .. have a high digit
  float* scales;   // [tokens][columns / 32]; sparse: a block's stands at its first 32
  // [tokens][columns / 32]: the sum of a group's values, which minimums and offsets multiply;
  // sparse, where kernels keep weights as they are (group_tile.h): of its numbers, without the
  // scale
  float* sums32;
  float* sums16;  // [tokens][columns / 16]: the same of half groups
  // sparse, where kernels round weights (byte_tile.h): [tokens][columns / kSparseBlock]: what takes
  // the offsets of a block's bytes back: - 128 * (its numbers' sum) - 64 * (its high digits')
  int32_t* starts;
  // sparse, where kernels take 4-bit weights as they are (nibble_tile.h): [tokens][columns / 32]:
  // what takes the offset of a group's weights back: - 8 * (its low digits' sum)
  int32_t* group_starts;
};

// Where the first half of a group's digits lies in crossed order; the second is 64 behind it.
constexpr size_t crossed_place(size_t group) {
  return group / 4 * 128 + group % 4 * 16;
}

// Where products go: out[t, r] (= or +=) bias[r] + product.
struct Destination {
  float* out;  // [tokens][stride], at the first row of the call
  size_t stride;
  const float* bias;  // [rows], at the first row; null: none
  bool add;
};

// Rows of a weight as the file stores them, one behind the other.
struct WeightRows {
  const uint8_t* data;
  size_t row_bytes;
  size_t rows;
};

struct IntegerKernels {
  // Few tokens (1 .. kGemvTokensMax), fine: each weight is unpacked in registers and multiplied at
  // once.
  void (*gemv)(const WeightRows&, const DigitTokens&, size_t tokens, const Destination&);
  // Many tokens, sparse: panels of KernelTable::panel_rows rows are unpacked into `panel`
  // (integer_panel_bytes, 64-aligned), then multiplied with all tokens.
  void (*gemm)(const WeightRows&, const DigitTokens&, size_t tokens, uint8_t* panel,
               const Destination&);
  // One row's values; columns: a multiple of the block.
  void (*decode)(const uint8_t* row, size_t columns, float* out);
};

// Activations as they are: float32 tokens, `stride` values apart.
struct FloatTokens {
  const float* values;
  size_t columns, stride;
};

// Block scales of FP8 rows: column c of every row of the call is multiplied by scales[c /
// columns_per_scale]. Null: none.
struct RowScales {
  const float* scales;
  size_t columns_per_scale;
};

// As IntegerKernels; `panel`: KernelTable::float_panel_bytes.
struct FloatKernels {
  void (*gemv)(const WeightRows&, const RowScales&, const FloatTokens&, size_t tokens,
               const Destination&);
  void (*gemm)(const WeightRows&, const RowScales&, const FloatTokens&, size_t tokens,
               uint8_t* panel, const Destination&);
  void (*decode)(const uint8_t* row, const RowScales&, size_t columns, float* out);
};

constexpr size_t kGemvTokensMax = 4;

// Query rows that share a key-value head, and how far they have come.
struct AttentionTile {
  size_t rows, key_width, value_width;
  size_t value_bytes;    // of a head's part of a value, as it lies in the cache
  const float* queries;  // [rows][query_stride], already multiplied by the scale
  size_t query_stride;
  const uint32_t* limits;  // [rows]: positions below it are seen
  float* maxima;           // [rows]: greatest score so far; kNoScore before the first
  float* totals;           // [rows]: sum of the weights so far, relative to the maximum
  float* sums;        // [rows][sum_stride]: weighted values so far; their sum / total is the result
  size_t sum_stride;  // value_width, rounded up to whole panels of rows
  float* scores;      // scratch: [rows][kAttentionRun]
  float* panel;       // scratch: kAttentionRun * the greater of key_width and sum_stride
};

constexpr size_t kAttentionRun = 64;  // positions at once
constexpr float kNoScore = -3e38f;

// Up to kAttentionRun positions of one sequence, from `first`: where the head's part of each one's
// key and value lies.
struct AttentionRun {
  size_t first, count;
  const uint8_t* keys[kAttentionRun];
  const uint8_t* values[kAttentionRun];
};

// How a cache of one type is read. A run of positions more for a tile: `score` of the keys' type,
// KernelTable::soften, `add_values` of the values' type.
struct CacheKernels {
  void (*score)(const AttentionTile&, const AttentionRun&);       // scores = queries . keys
  void (*add_values)(const AttentionTile&, const AttentionRun&);  // sums += scores . values
};

struct KernelTable {
  const char* name;   // as DeviceOptions::instruction_set takes it
  const char* title;  // for people

  IntegerKernels integer[kIntegerFormats];
  FloatKernels floating[kFloatFormats];
  size_t panel_rows;  // of a gemm; of floats a part of them
  size_t float_panel_rows;
  size_t integer_panel_bytes;
  size_t float_panel_bytes;

  // Columns first .. first + count (multiples of 32) of one token, to their places in the arrays
  // of `out`. What lies behind a token's last column is not touched.
  void (*quantize_fine)(const float* in, size_t first, size_t count, const DigitTokens& out,
                        size_t token);
  // The same; `first` is a multiple of kSparseBlock. Values of more than `reach` times their
  // block's root mean square (of values cut to a bound: digits.h), without sign, have a high digit,
  // unless none of the block is much beyond it.
  void (*quantize_sparse)(const float* in, size_t first, size_t count, float reach,
                          const DigitTokens& out, size_t token);

  // sum of a[i] * b[i]
  float (*dot)(const float* a, const float* b, size_t count);

  CacheKernels cache_f32, cache_f16, cache_bf16, cache_q8_0, cache_q4_0;
  // Scores to weights relative to each row's greatest score so far; its earlier sums shrink to it.
  void (*soften)(const AttentionTile&, const AttentionRun&);

  // c[t, n] (= or +=) sum over k of a[t, k] b[k, n]; columns: a multiple of
  // float_panel_rows.
  void (*multiply_floats)(size_t tokens, const float* a, size_t a_stride, const float* b,
                          size_t b_stride, size_t depth, size_t columns, float* c, size_t c_stride,
                          bool add);
  // out[i] += factor * in[i]
  void (*add_scaled)(const float* in, float factor, size_t count, float* out);

  void (*rms_norm)(const float* in, const float* gain, size_t width, float epsilon, float* out);
  void (*swiglu)(const float* gate, const float* up, size_t count,
                 float* out);  // out may be gate or up
  // One head. Halves: values i and i + pairs turn by angle i. Pairs: values 2i and 2i + 1 do, and
  // each angle's cosine and sine stand twice.
  void (*rotate_halves)(float* head, const float* cosines, const float* sines, size_t pairs);
  void (*rotate_pairs)(float* head, const float* cosines, const float* sines, size_t pairs);
  void (*to_f16)(const float* in, size_t count, uint16_t* out);
  void (*to_bf16)(const float* in, size_t count, uint16_t* out);

  // Reads every byte (a multiple of 4096) and returns something that depends on all.
  uint32_t (*read)(const void* data, size_t bytes);
  // Keeps the float multipliers busy for about `rounds` rounds; returns how many multiply-adds.
  uint64_t (*multiply_adds)(uint64_t rounds);
};

const KernelTable& kernels_avx2();
const KernelTable& kernels_avxvnni();
const KernelTable& kernels_avx512();
const KernelTable& kernels_vnni();

}  // namespace hadal::cpu
