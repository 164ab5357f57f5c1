// Formats of 32-value blocks with one scale each. Byte j holds value j in its low half and value j
// + 16 in its high half.
#include "base/float_types.h"
#include "quant/blocks.h"
#include "quant/decode.h"

namespace hadal {
namespace {

int low_half(uint8_t byte) {
  return byte & 15;
}
int high_half(uint8_t byte) {
  return byte >> 4;
}

// The fifth bit of value j, in its place (0 or 16).
int fifth_bit(const uint8_t (&high_bits)[4], int j) {
  return ((high_bits[j / 8] >> (j % 8)) & 1) << 4;
}

}  // namespace

void decode_q4_0(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ4_0, 32>(blocks, values, count, [](const BlockQ4_0& block, float* out) {
    const float scale = f16_to_float(block.scale);
    for (int j = 0; j < 16; ++j) {
      out[j] = static_cast<float>(low_half(block.quants[j]) - 8) * scale;
      out[j + 16] = static_cast<float>(high_half(block.quants[j]) - 8) * scale;
    }
  });
}

void decode_q4_1(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ4_1, 32>(blocks, values, count, [](const BlockQ4_1& block, float* out) {
    const float scale = f16_to_float(block.scale), minimum = f16_to_float(block.minimum);
    for (int j = 0; j < 16; ++j) {
      out[j] = static_cast<float>(low_half(block.quants[j])) * scale + minimum;
      out[j + 16] = static_cast<float>(high_half(block.quants[j])) * scale + minimum;
    }
  });
}

void decode_q5_0(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ5_0, 32>(blocks, values, count, [](const BlockQ5_0& block, float* out) {
    const float scale = f16_to_float(block.scale);
    for (int j = 0; j < 16; ++j) {
      const int low = low_half(block.quants[j]) | fifth_bit(block.high_bits, j);
      const int high = high_half(block.quants[j]) | fifth_bit(block.high_bits, j + 16);
      out[j] = static_cast<float>(low - 16) * scale;
      out[j + 16] = static_cast<float>(high - 16) * scale;
    }
  });
}

void decode_q5_1(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ5_1, 32>(blocks, values, count, [](const BlockQ5_1& block, float* out) {
    const float scale = f16_to_float(block.scale), minimum = f16_to_float(block.minimum);
    for (int j = 0; j < 16; ++j) {
      const int low = low_half(block.quants[j]) | fifth_bit(block.high_bits, j);
      const int high = high_half(block.quants[j]) | fifth_bit(block.high_bits, j + 16);
      out[j] = static_cast<float>(low) * scale + minimum;
      out[j + 16] = static_cast<float>(high) * scale + minimum;
    }
  });
}

void decode_q8_0(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ8_0, 32>(blocks, values, count, [](const BlockQ8_0& block, float* out) {
    const float scale = f16_to_float(block.scale);
    for (int j = 0; j < 32; ++j) out[j] = static_cast<float>(block.quants[j]) * scale;
  });
}

void decode_iq4_nl(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ4_NL, 32>(blocks, values, count, [](const BlockIQ4_NL& block, float* out) {
    const float scale = f16_to_float(block.scale);
    for (int j = 0; j < 16; ++j) {
      out[j] = static_cast<float>(kIq4Levels[low_half(block.quants[j])]) * scale;
      out[j + 16] = static_cast<float>(kIq4Levels[high_half(block.quants[j])]) * scale;
    }
  });
}

void decode_mxfp4(const void* blocks, float* values, size_t count) {
  for_each_block<BlockMXFP4, 32>(blocks, values, count, [](const BlockMXFP4& block, float* out) {
    const float scale = e8m0_to_float(block.scale);
    for (int j = 0; j < 16;
         ++j) {  // level / 2 first: it is exact, and the smallest scale has no half
      out[j] = static_cast<float>(kFp4HalfLevels[low_half(block.quants[j])]) * 0.5f * scale;
      out[j + 16] = static_cast<float>(kFp4HalfLevels[high_half(block.quants[j])]) * 0.5f * scale;
    }
  });
}

}  // namespace hadal
