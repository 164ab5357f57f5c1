#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/float_types.h"
#include "quant/blocks.h"
#include "quant/encode.h"

namespace hadal {
namespace {

constexpr size_t kBlock = 32;

BlockQ8_0 block_of(const float (&values)[kBlock]) {
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

}  // namespace

void encode_q8_0(const float* values, size_t count, void* blocks) {
  auto* to = static_cast<std::byte*>(blocks);
  for (size_t first = 0; first < count; first += kBlock, to += sizeof(BlockQ8_0)) {
    float part[kBlock] = {};
    std::copy_n(values + first, std::min(kBlock, count - first), part);
    const BlockQ8_0 block = block_of(part);
    std::memcpy(to, &block, sizeof(block));
  }
}

}  // namespace hadal
