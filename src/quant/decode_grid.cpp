// Formats whose quants are numbers of grid entries (quant/grids.h): 256 values, in groups of 8
// or 4.
#include "base/float_types.h"
#include "quant/blocks.h"
#include "quant/decode.h"
#include "quant/grids.h"

namespace hadal {
namespace {

uint32_t word_at(const uint8_t* bytes) {
  return static_cast<uint32_t>(bytes[0]) | static_cast<uint32_t>(bytes[1]) << 8 |
         static_cast<uint32_t>(bytes[2]) << 16 | static_cast<uint32_t>(bytes[3]) << 24;
}

// Two-bit and three-bit levels of an entry.
int level_of_8(const int8_t (&levels)[4], uint16_t entry, int j) {
  return levels[(entry >> (2 * j)) & 3];
}
int level_of_4(const int8_t (&levels)[8], uint16_t entry, int j) {
  return levels[(entry >> (3 * j)) & 7];
}

// Eight signs of seven: the number of set bits is even.
uint32_t eight_signs(uint32_t seven) {
  return seven | (static_cast<uint32_t>(__builtin_popcount(seven) % 2) << 7);
}

float with_sign(float value, uint32_t signs, int j) {
  return (signs >> j) & 1 ? -value : value;
}

// Half s % 2 of byte s / 2.
int four_bits(const uint8_t* bytes, int s) {
  return (bytes[s / 2] >> (4 * (s % 2))) & 15;
}

float iq2_scale(float scale, int sub_scale) {
  return scale * (0.5f + static_cast<float>(sub_scale)) * 0.25f;
}

void put_iq2_group(float scale, uint16_t entry, uint32_t signs, float* out) {
  for (int j = 0; j < 8; ++j) {
    out[j] = with_sign(scale * static_cast<float>(level_of_8(kIq2Levels, entry, j)), signs, j);
  }
}

float odd_scale(float scale, int sub_scale) {
  return scale * static_cast<float>(2 * sub_scale + 1);
}

void put_iq1_group(float scale, uint32_t entry, bool subtract, float* out) {
  const float delta = subtract ? -0.125f : 0.125f;
  for (int j = 0; j < 8; ++j) {
    out[j] = scale * (static_cast<float>(level_of_8(kIq1Levels, kIq1Grid[entry], j)) + delta);
  }
}

}  // namespace

void decode_iq2_xxs(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ2_XXS, 256>(blocks, values, count, [](const BlockIQ2_XXS& b, float* out) {
    const float scale = f16_to_float(b.scale);
    for (int group = 0; group < 32; ++group) {
      const uint8_t* sub_block = b.quants + 8 * (group / 4);
      const uint32_t word = word_at(sub_block + 4);
      put_iq2_group(iq2_scale(scale, static_cast<int>(word >> 28)),
                    kIq2XxsGrid[sub_block[group % 4]],
                    eight_signs((word >> (7 * (group % 4))) & 127), out + 8 * group);
    }
  });
}

void decode_iq2_xs(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ2_XS, 256>(blocks, values, count, [](const BlockIQ2_XS& b, float* out) {
    const float scale = f16_to_float(b.scale);
    for (int group = 0; group < 32; ++group) {
      const uint32_t quant = b.quants[2 * group] | (uint32_t{b.quants[2 * group + 1]} << 8);
      put_iq2_group(iq2_scale(scale, four_bits(b.scales, group / 2)), kIq2XsGrid[quant & 511],
                    eight_signs(quant >> 9), out + 8 * group);
    }
  });
}

void decode_iq2_s(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ2_S, 256>(blocks, values, count, [](const BlockIQ2_S& b, float* out) {
    const float scale = f16_to_float(b.scale);
    for (int group = 0; group < 32; ++group) {
      const int high = (b.high_bits[group / 4] >> (2 * (group % 4))) & 3;
      put_iq2_group(iq2_scale(scale, four_bits(b.scales, group / 2)),
                    kIq2SGrid[b.quants[group] | (high << 8)], b.signs[group], out + 8 * group);
    }
  });
}

void decode_iq3_xxs(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ3_XXS, 256>(blocks, values, count, [](const BlockIQ3_XXS& b, float* out) {
    const float scale = f16_to_float(b.scale);
    for (int i = 0; i < 256; ++i) {
      const uint32_t word = word_at(b.signs_and_scales + 4 * (i / 32));
      const float sub_scale = scale * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
      const int level = level_of_4(kIq3XxsLevels, kIq3XxsGrid[b.quants[i / 4]], i % 4);
      const uint32_t signs = eight_signs((word >> (7 * (i / 8 % 4))) & 127);
      out[i] = with_sign(sub_scale * static_cast<float>(level), signs, i % 8);
    }
  });
}

void decode_iq3_s(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ3_S, 256>(blocks, values, count, [](const BlockIQ3_S& b, float* out) {
    const float scale = f16_to_float(b.scale);
    for (int i = 0; i < 256; ++i) {
      const int high = (b.high_bits[i / 32] >> (i / 4 % 8)) & 1;
      const int level = level_of_4(kIq3SLevels, kIq3SGrid[b.quants[i / 4] | (high << 8)], i % 4);
      const float value = odd_scale(scale, four_bits(b.scales, i / 32)) * static_cast<float>(level);
      out[i] = with_sign(value, b.signs[i / 8], i % 8);
    }
  });
}

void decode_iq1_s(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ1_S, 256>(blocks, values, count, [](const BlockIQ1_S& b, float* out) {
    const float scale = f16_to_float(b.scale);
    for (int group = 0; group < 32; ++group) {
      const uint32_t rest = b.rest[group / 4];
      const uint32_t high = (rest >> (3 * (group % 4))) & 7;
      put_iq1_group(odd_scale(scale, static_cast<int>((rest >> 12) & 7)),
                    b.quants[group] | (high << 8), (rest & 0x8000) != 0, out + 8 * group);
    }
  });
}

void decode_iq1_m(const void* blocks, float* values, size_t count) {
  for_each_block<BlockIQ1_M, 256>(blocks, values, count, [](const BlockIQ1_M& b, float* out) {
    uint32_t bits = 0;
    for (int i = 0; i < 4; ++i) bits |= static_cast<uint32_t>(b.scales[i] >> 12) << (4 * i);
    const float scale = f16_to_float(static_cast<f16>(bits));
    for (int group = 0; group < 32; ++group) {
      const int sub_block = group / 2;
      const int sub_scale = (b.scales[sub_block / 4] >> (3 * (sub_block % 4))) & 7;
      const uint32_t high = static_cast<uint32_t>(four_bits(b.high_bits, group));
      put_iq1_group(odd_scale(scale, sub_scale), b.quants[group] | ((high & 7) << 8),
                    (high & 8) != 0, out + 8 * group);
    }
  });
}

}  // namespace hadal
