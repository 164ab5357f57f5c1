#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/float_types.h"
#include "quant/blocks.h"
#include "quant/encode.h"

namespace hadal {
namespace {

constexpr size_t kBlock = 32;

BlockQ8_0 block_q8_0(const float (&values)[kBlock]) {
  float greatest = 0;
  for (const float value : values) greatest = std::max(greatest, std::fabs(value));
  const float inverse = greatest > 0 ? 127.0f / greatest : 0.0f;
  BlockQ8_0 block;
  block.scale = float_to_f16(greatest / 127.0f);
  for (size_t i = 0; i < kBlock; ++i) {
    // NaN, and what an infinite factor makes, become numbers: a cast may not see them.
    const float number = std::clamp(std::nearbyint(values[i] * inverse), -127.0f, 127.0f);
    block.quants[i] = number == number ? static_cast<int8_t>(number) : int8_t{0};
  }
  return block;
}

BlockQ4_0 block_q4_0(const float (&values)[kBlock]) {
  float greatest = 0;
  for (const float value : values) {
    if (std::fabs(value) > std::fabs(greatest)) greatest = value;
  }
  const float scale = greatest / -8.0f;
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  const auto number = [&](size_t i) {
    const float place = std::clamp(values[i] * inverse + 8.5f, 0.0f, 15.0f);
    return place == place ? static_cast<uint8_t>(place) : uint8_t{8};  // NaN is none
  };
  BlockQ4_0 block;
  block.scale = float_to_f16(scale);
  for (size_t i = 0; i < kBlock / 2; ++i) {
    block.quants[i] = static_cast<uint8_t>(number(i) | number(i + kBlock / 2) << 4);
  }
  return block;
}

template <class Block>
void encode(Block (*make)(const float (&)[kBlock]), const float* values, size_t count,
            void* blocks) {
  auto* to = static_cast<std::byte*>(blocks);
  for (size_t first = 0; first < count; first += kBlock, to += sizeof(Block)) {
    float part[kBlock] = {};
    std::copy_n(values + first, std::min(kBlock, count - first), part);
    const Block block = make(part);
    std::memcpy(to, &block, sizeof(block));
  }
}

}  // namespace

void encode_q8_0(const float* values, size_t count, void* blocks) {
  encode(block_q8_0, values, count, blocks);
}

void encode_q4_0(const float* values, size_t count, void* blocks) {
  encode(block_q4_0, values, count, blocks);
}

}  // namespace hadal
