// The bytes of one block of each quantised format, as they lie in a file (little-endian). What they
// mean is said by the reference decodes (decode_*.cpp). f16 fields are bit patterns
// (base/float_types.h). Plain C arrays and no standard templates: files compiled for one
// instruction set include this header.
//
// Source: the GGML block formats as GGUF files hold them; MXFP4 also OCP Microscaling Formats 1.0.
#pragma once

#include <cstdint>

namespace hadal {

// ---- Blocks of 32 values. Byte j of `quants` holds value j in its low half and value j + 16 in
// its high half.

inline constexpr int kSmallBlockValues = 32;

struct BlockQ4_0 {  // (q - 8) x scale, q in 0..15
  uint16_t scale;   // f16
  uint8_t quants[16];
};

struct BlockQ4_1 {   // q x scale + minimum
  uint16_t scale;    // f16
  uint16_t minimum;  // f16
  uint8_t quants[16];
};

struct BlockQ5_0 {       // (q - 16) x scale, q in 0..31
  uint16_t scale;        // f16
  uint8_t high_bits[4];  // bit j of this 32-bit number is the fifth bit of value j; bytes, as the
                         // field is only 2-aligned
  uint8_t quants[16];
};

struct BlockQ5_1 {   // q x scale + minimum
  uint16_t scale;    // f16
  uint16_t minimum;  // f16
  uint8_t high_bits[4];
  uint8_t quants[16];
};

struct BlockQ8_0 {  // q x scale
  uint16_t scale;   // f16
  int8_t quants[32];
};

struct BlockIQ4_NL {  // kIq4Levels[q] x scale
  uint16_t scale;     // f16
  uint8_t quants[16];
};

struct BlockMXFP4 {  // kFp4HalfLevels[q] / 2 x scale; the scale 0xff makes every value NaN
  uint8_t scale;     // e8m0
  uint8_t quants[16];
};

// ---- "K" blocks of 256 values, cut into sub-blocks that have small integer scales (and minimums)
// of their own, which are multiplied by one f16 for the whole block.

inline constexpr int kSuperBlockValues = 256;

struct BlockQ2_K {  // 16 sub-blocks of 16: q x (scale x sub-scale) - (minimum x sub-minimum), q in
                    // 0..3
  uint8_t scales[16];  // low half: sub-scale; high half: sub-minimum
  uint8_t quants[64];
  uint16_t scale;    // f16
  uint16_t minimum;  // f16
};

struct BlockQ3_K {        // 16 sub-blocks of 16: (q - 4) x (scale x (sub-scale - 32)), q in 0..7
  uint8_t high_bits[32];  // the third bit of each q
  uint8_t quants[64];     // the lower two
  uint8_t scales[12];     // 16 of 6 bits
  uint16_t scale;         // f16
};

struct BlockQ4_K {   // 8 sub-blocks of 32: q x (scale x sub-scale) - (minimum x sub-minimum), q in
                     // 0..15
  uint16_t scale;    // f16
  uint16_t minimum;  // f16
  uint8_t scales[12];  // 8 sub-scales and 8 sub-minimums of 6 bits
  uint8_t quants[128];
};

struct BlockQ5_K {   // as Q4_K, q in 0..31
  uint16_t scale;    // f16
  uint16_t minimum;  // f16
  uint8_t scales[12];
  uint8_t high_bits[32];  // the fifth bit of each q
  uint8_t quants[128];
};

struct BlockQ6_K {        // 16 sub-blocks of 16: (q - 32) x (scale x sub-scale), q in 0..63
  uint8_t quants[128];    // the lower four bits
  uint8_t high_bits[64];  // the upper two
  int8_t scales[16];
  uint16_t scale;  // f16
};

struct BlockIQ4_XS {      // 8 sub-blocks of 32: kIq4Levels[q] x (scale x (sub-scale - 32))
  uint16_t scale;         // f16
  uint16_t scales_high;   // bits 2s, 2s+1: the upper two bits of sub-scale s
  uint8_t scales_low[4];  // half s % 2 of byte s / 2: its lower four
  uint8_t quants[128];
};

// ---- "IQ" blocks of 256 values whose quants are numbers of grid entries (quant/grids.h): groups
// of 8 or 4 values at once. Sign bits: bit j set makes value j of a group of 8 negative. Where 7
// bits stand for 8 signs, the eighth makes the number of negative values even.

struct BlockIQ2_XXS {  // 8 sub-blocks of 32: +-level x (scale x (sub-scale + 1/2) / 4)
  uint16_t scale;      // f16
  uint8_t quants[64];  // each sub-block: four bytes, numbers in kIq2XxsGrid; 32 bits, four times 7
                       // of signs and the sub-scale's 4
};

struct BlockIQ2_XS {   // 16 sub-blocks of 16: as IQ2_XXS
  uint16_t scale;      // f16
  uint8_t quants[64];  // each group of 8: 9 bits, a number in kIq2XsGrid, and 7 of signs
  uint8_t scales[8];   // half s % 2 of byte s / 2: sub-scale s
};

struct BlockIQ2_S {      // 16 sub-blocks of 16: as IQ2_XXS
  uint16_t scale;        // f16
  uint8_t quants[32];    // the lower eight bits of each group's number in kIq2SGrid
  uint8_t signs[32];     // of each group of 8
  uint8_t high_bits[8];  // bits 2 (g % 4) of byte g / 4: the upper two of group g
  uint8_t scales[8];     // as IQ2_XS
};

struct BlockIQ3_XXS {            // 8 sub-blocks of 32: +-level x (scale x (sub-scale + 1/2) / 2)
  uint16_t scale;                // f16
  uint8_t quants[64];            // of each group of 4 its number in kIq3XxsGrid
  uint8_t signs_and_scales[32];  // each sub-block: 32 bits as those of IQ2_XXS
};

struct BlockIQ3_S {      // 8 sub-blocks of 32: +-level x (scale x (2 x sub-scale + 1))
  uint16_t scale;        // f16
  uint8_t quants[64];    // the lower eight bits of each group of 4's number in kIq3SGrid
  uint8_t high_bits[8];  // bit g % 8 of byte g / 8: the ninth of group g
  uint8_t signs[32];     // of each 8 values
  uint8_t scales[4];     // half s % 2 of byte s / 2: sub-scale s
};

struct BlockIQ1_S {    // 8 sub-blocks of 32: (level +- 1/8) x (scale x (2 x sub-scale + 1))
  uint16_t scale;      // f16
  uint8_t quants[32];  // the lower eight bits of each group of 8's number in kIq1Grid
  uint16_t rest[8];    // each sub-block: four times the upper three bits, 3 of the sub-scale, and
                       // one that is set where the eighth is subtracted
};

struct BlockIQ1_M {       // 16 sub-blocks of 16: as IQ1_S
  uint8_t quants[32];     // as IQ1_S
  uint8_t high_bits[16];  // half g % 2 of byte g / 2, of group g: the upper three bits, and one
                          // that is set where the eighth is subtracted
  uint16_t scales[4];     // each: four sub-scales of 3 bits, then 4 bits of the scale, an f16, the
                          // lowest first
};

// The 16 levels of IQ4_NL and IQ4_XS, spaced for weights that are distributed like a bell.
inline constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

// The 16 levels of FP4 (E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives), doubled to be whole.
inline constexpr int8_t kFp4HalfLevels[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                              0, -1, -2, -3, -4, -6, -8, -12};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18);
static_assert(sizeof(BlockMXFP4) == 17 && sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110);
static_assert(sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);
static_assert(sizeof(BlockIQ4_XS) == 136 && sizeof(BlockIQ2_XXS) == 66 &&
              sizeof(BlockIQ2_XS) == 74);
static_assert(sizeof(BlockIQ2_S) == 82 && sizeof(BlockIQ3_XXS) == 98 && sizeof(BlockIQ3_S) == 110);
static_assert(sizeof(BlockIQ1_S) == 50 && sizeof(BlockIQ1_M) == 56);

}  // namespace hadal
