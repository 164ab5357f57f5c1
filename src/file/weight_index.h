// model.safetensors.index.json: which shard of a Hugging Face folder holds which tensor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hadal {

inline constexpr uint64_t kWeightIndexBytesMax = 128 << 20;  // DeepSeek-V3's has 9 MB

// Tensor name to file name; ordered, so that what follows from it is too.
using WeightIndex = std::map<std::string, std::string, std::less<>>;

// Reads the "weight_map" of the text. File names are plain (no path) and end in .safetensors.
// `file` names the text in messages.
Result<WeightIndex> read_weight_index(std::string_view text, const std::string& file);

}  // namespace hadal
