// The reference decodes: for each format the shortest code that says what its bytes mean.
// Everything faster is held to these. Used through the table (quant/format.h), whose `decode` they
// are: blocks at any alignment, count a multiple of the format's block_values. The order of the
// float operations is part of the meaning: results are held bit for bit.
#pragma once

#include <cstddef>

namespace hadal {

void decode_f32(const void* blocks, float* values, size_t count);
void decode_f16(const void* blocks, float* values, size_t count);
void decode_bf16(const void* blocks, float* values, size_t count);
void decode_f8_e4m3(const void* blocks, float* values, size_t count);  // without its ScaleGrid

void decode_q4_0(const void* blocks, float* values, size_t count);
void decode_q4_1(const void* blocks, float* values, size_t count);
void decode_q5_0(const void* blocks, float* values, size_t count);
void decode_q5_1(const void* blocks, float* values, size_t count);
void decode_q8_0(const void* blocks, float* values, size_t count);

void decode_q2_k(const void* blocks, float* values, size_t count);
void decode_q3_k(const void* blocks, float* values, size_t count);
void decode_q4_k(const void* blocks, float* values, size_t count);
void decode_q5_k(const void* blocks, float* values, size_t count);
void decode_q6_k(const void* blocks, float* values, size_t count);

void decode_iq4_nl(const void* blocks, float* values, size_t count);
void decode_iq4_xs(const void* blocks, float* values, size_t count);
void decode_iq2_xxs(const void* blocks, float* values, size_t count);
void decode_iq2_xs(const void* blocks, float* values, size_t count);
void decode_iq2_s(const void* blocks, float* values, size_t count);
void decode_iq3_xxs(const void* blocks, float* values, size_t count);
void decode_iq3_s(const void* blocks, float* values, size_t count);
void decode_iq1_s(const void* blocks, float* values, size_t count);
void decode_iq1_m(const void* blocks, float* values, size_t count);
void decode_mxfp4(const void* blocks, float* values, size_t count);

// Calls decode_block(block, values of that block) for each block, on an aligned copy.
template <typename Block, int kBlockValues, typename DecodeBlock>
void for_each_block(const void* blocks, float* values, size_t count, DecodeBlock decode_block) {
  const auto* bytes = static_cast<const unsigned char*>(blocks);
  for (size_t i = 0; i < count; i += kBlockValues, bytes += sizeof(Block)) {
    Block block;
    __builtin_memcpy(&block, bytes, sizeof(Block));
    decode_block(block, values + i);
  }
}

}  // namespace hadal
