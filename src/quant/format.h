// The storage formats of weights: one row of a table each. A format is a block struct
// (quant/blocks.h), a name, and a reference decode, which says what the bytes mean; everything else
// about a format (fast kernels, packed forms) lives with the device that wants it.
//
// Sources: the block layouts are those of GGUF files (the GGML types); F8_E4M3 is OCP FP8 "e4m3fn",
// whose 128 x 128 block scales travel beside the values (ScaleGrid); MXFP4 is OCP Microscaling 1.0
// in GGUF's block order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hadal {

// The values are those of GGUF's tensor type field; F8_E4M3 is ours (no GGUF number): it comes from
// safetensors alone.
enum class QuantType : uint8_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI32 = 26,  // whole numbers that ops hand to ops (Tensor alone): no format of weights
  kIQ1_M = 29,
  kBF16 = 30,
  kMXFP4 = 39,
  kF8_E4M3 = 200,
};

struct QuantFormat {
  QuantType type;
  std::string_view name;  // "q4_k": in files' names, on the command line, in logs
  uint16_t block_values;  // values a block; a row is a whole number of blocks
  uint16_t block_bytes;
  // blocks: count / block_values blocks, any alignment. values: count floats. count: a multiple of
  // block_values.
  void (*decode)(const void* blocks, float* values, size_t count);
};

// All formats of weights, in the order of their names in docs.
std::span<const QuantFormat> quant_formats();

// CHECKs that type is one of the table. kI32 has a row, too, with no decode; it is not found by
// name or by GGUF's number, as no weight is stored in it.
const QuantFormat& quant_format(QuantType type);
const QuantFormat* find_quant_format(std::string_view name);  // null: unknown
const QuantFormat* find_gguf_format(uint32_t gguf_type);      // null: a type we do not read

// The name GGUF gives a type number we cannot read ("tq1_0"), or "" if nobody has defined it: for
// error messages.
std::string_view gguf_type_name(uint32_t gguf_type);

// Bytes of a row of `columns` values (a multiple of block_values; CHECKed).
size_t row_bytes(QuantType type, size_t columns);

// One scale for a rectangle of a weight: value = stored value x scale. Row-major grid of
// divide_up(rows, rows_per_scale) x divide_up(columns, columns_per_scale) floats; edge rectangles
// are smaller. A view.
struct ScaleGrid {
  const float* data = nullptr;
  uint32_t rows_per_scale = 0, columns_per_scale = 0;
};

}  // namespace hadal
