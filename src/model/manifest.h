// What tensors a model consists of: the pivot between files and forwards. An architecture lists,
// for a config and for the names a file has, every tensor it will read, in what shape; the loader,
// the planner, `show` and the tests read that list. A tensor may stand in it twice: a tied head is
// the embedding's tensor again, as kHead.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/device.h"

namespace hadal {

// What a tensor does, whatever a file calls it.
enum class Role : uint8_t {
  kEmbedding,
  kAttentionNorm,
  kQuery,
  kQueryBias,
  kKey,
  kKeyBias,
  kValue,
  kValueBias,
  kQueryNorm,
  kKeyNorm,
  kAttentionOutput,
  kFeedForwardNorm,
  kGate,
  kUp,
  kDown,
  kFinalNorm,
  kHead,
  kRopeFactors,  // Llama-3 scaling as GGUF stores it: divisors of the rope frequencies
};

inline constexpr int16_t kNoLayer = -1;

struct TensorSpec {
  std::string name;  // in this file
  Role role;
  int16_t layer = kNoLayer;  // kNoLayer: belongs to the whole model
  uint32_t experts = 1, rows = 1, columns = 1;
  WeightUse use = WeightUse::kMatrix;
  bool required = true;
};

using Manifest = std::vector<TensorSpec>;

}  // namespace hadal
