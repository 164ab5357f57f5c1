// Formats of 256-value blocks ("K"): sub-blocks of 16 or 32 values have small integer scales, one
// f16 serves them all. The quants are interleaved so that a wide register of bytes yields one run
// of consecutive values per shift; the loops below walk the values in their own order and look up
// where each bit lies.
#include "base/float_types.h"
#include "quant/blocks.h"
#include "quant/decode.h"

namespace hadal {
namespace {

// Eight sub-scales and eight sub-minimums of 6 bits in 12 bytes (Q4_K, Q5_K). Numbers 0..3 of each
// are the low 6 bits of bytes 0..3 and 4..7; numbers 4..7 have their low 4 bits in bytes 8..11
// (scale low half, minimum high half) and their upper 2 bits in the free top bits of bytes 0..7.
struct ScaleAndMinimum {
  int scale, minimum;
};

ScaleAndMinimum six_bit_pair(const uint8_t (&bytes)[12], int j) {
  if (j < 4) return {bytes[j] & 63, bytes[j + 4] & 63};
  return {(bytes[j + 4] & 15) | ((bytes[j - 4] >> 6) << 4),
          (bytes[j + 4] >> 4) | ((bytes[j] >> 6) << 4)};
}

// Sixteen 6-bit scales in 12 bytes (Q3_K): the low 4 bits of number j in half j / 8 of byte j % 8,
// the upper 2 in bits 2(j / 4) of byte 8 + j % 4.
int six_bit_scale(const uint8_t (&bytes)[12], int j) {
  const int low = (bytes[j % 8] >> (4 * (j / 8))) & 15;
  const int high = (bytes[8 + j % 4] >> (2 * (j / 4))) & 3;
  return low | (high << 4);
}

// Two-bit quants: value i of 256 lies in byte 32 (i / 128) + i % 32, at bit 2 (i / 32 % 4).
int two_bits(const uint8_t (&bytes)[64], int i) {
  return (bytes[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
}

// Four-bit quants of Q4_K and Q5_K: value i lies in byte 32 (i / 64) + i % 32, low half for the
// first 32 of each 64.
int four_bits(const uint8_t (&bytes)[128], int i) {
  return (bytes[32 * (i / 64) + i % 32] >> (4 * (i / 32 % 2))) & 15;
}

// A single bit of each value: bit i / 32 of byte i % 32.
int one_bit(const uint8_t (&bytes)[32], int i) {
  return (bytes[i % 32] >> (i / 32)) & 1;
}

}  // namespace

void decode_q2_k(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ2_K, 256>(blocks, values, count, [](const BlockQ2_K& block, float* out) {
    const float scale = f16_to_float(block.scale), minimum = f16_to_float(block.minimum);
    for (int i = 0; i < 256; ++i) {
      const uint8_t packed = block.scales[i / 16];
      const float sub_scale = scale * static_cast<float>(packed & 15);
      const float sub_minimum = minimum * static_cast<float>(packed >> 4);
      out[i] = sub_scale * static_cast<float>(two_bits(block.quants, i)) - sub_minimum;
    }
  });
}

void decode_q3_k(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ3_K, 256>(blocks, values, count, [](const BlockQ3_K& block, float* out) {
    const float scale = f16_to_float(block.scale);
    for (int i = 0; i < 256; ++i) {
      const float sub_scale = scale * static_cast<float>(six_bit_scale(block.scales, i / 16) - 32);
      const int quant = two_bits(block.quants, i) | (one_bit(block.high_bits, i) << 2);
      out[i] = sub_scale * static_cast<float>(quant - 4);
    }
  });
}

void decode_q4_k(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ4_K, 256>(blocks, values, count, [](const BlockQ4_K& block, float* out) {
    const float scale = f16_to_float(block.scale), minimum = f16_to_float(block.minimum);
    for (int i = 0; i < 256; ++i) {
      const ScaleAndMinimum sub = six_bit_pair(block.scales, i / 32);
      const float sub_scale = scale * static_cast<float>(sub.scale);
      const float sub_minimum = minimum * static_cast<float>(sub.minimum);
      out[i] = sub_scale * static_cast<float>(four_bits(block.quants, i)) - sub_minimum;
    }
  });
}

void decode_q5_k(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ5_K, 256>(blocks, values, count, [](const BlockQ5_K& block, float* out) {
    const float scale = f16_to_float(block.scale), minimum = f16_to_float(block.minimum);
    for (int i = 0; i < 256; ++i) {
      const ScaleAndMinimum sub = six_bit_pair(block.scales, i / 32);
      const float sub_scale = scale * static_cast<float>(sub.scale);
      const float sub_minimum = minimum * static_cast<float>(sub.minimum);
      const int quant = four_bits(block.quants, i) | (one_bit(block.high_bits, i) << 4);
      out[i] = sub_scale * static_cast<float>(quant) - sub_minimum;
    }
  });
}

void decode_q6_k(const void* blocks, float* values, size_t count) {
  for_each_block<BlockQ6_K, 256>(blocks, values, count, [](const BlockQ6_K& block, float* out) {
    const float scale = f16_to_float(block.scale);
    for (int i = 0; i < 256; ++i) {
      const float sub_scale = scale * static_cast<float>(block.scales[i / 16]);
      // Of each 128 values the first 64 lie in the low halves of 64 bytes, the second 64 in the
      // high halves.
      const int low = (block.quants[64 * (i / 128) + i % 64] >> (4 * (i / 64 % 2))) & 15;
      const int quant = low | (two_bits(block.high_bits, i) << 4);
      out[i] = sub_scale * static_cast<float>(quant - 32);
    }
  });
}

void decode_iq4_xs(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ4_XS, 256>(blocks, values, count, [](const BlockIQ4_XS& block, float* out) {
    const float scale = f16_to_float(block.scale);
    for (int i = 0; i < 256; ++i) {
      const int sub = i / 32;
      const int low = (block.scales_low[sub / 2] >> (4 * (sub % 2))) & 15;
      const int high = (block.scales_high >> (2 * sub)) & 3;
      const float sub_scale = scale * static_cast<float>((low | (high << 4)) - 32);
      const int quant = (block.quants[16 * sub + i % 16] >> (4 * (i / 16 % 2))) & 15;
      out[i] = sub_scale * static_cast<float>(kIq4Levels[quant]);
    }
  });
}

}  // namespace hadal
