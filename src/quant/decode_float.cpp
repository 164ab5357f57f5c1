// Formats that are plain numbers: a block is one value.
#include "base/float_types.h"
#include "quant/decode.h"

namespace hadal {

void decode_f32(const void* blocks, float* values, size_t count) {
  if (count != 0) __builtin_memcpy(values, blocks, count * sizeof(float));
}

void decode_f16(const void* blocks, float* values, size_t count) {
  for_each_block<f16, 1>(blocks, values, count,
                         [](f16 bits, float* value) { *value = f16_to_float(bits); });
}

void decode_bf16(const void* blocks, float* values, size_t count) {
  for_each_block<bf16, 1>(blocks, values, count,
                          [](bf16 bits, float* value) { *value = bf16_to_float(bits); });
}

void decode_f8_e4m3(const void* blocks, float* values, size_t count) {
  for_each_block<f8_e4m3, 1>(blocks, values, count,
                             [](f8_e4m3 bits, float* value) { *value = f8_e4m3_to_float(bits); });
}

}  // namespace hadal
