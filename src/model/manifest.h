// What tensors a model consists of: the pivot between files and forwards. An architecture lists,
// for a config and for the names a file has, every tensor it will read, in what shape; the loader,
// the planner, `show` and the tests read that list. A tensor may stand in it twice: a tied head is
// the embedding's tensor again, as kHead.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/device.h"
#include "file/tensor_index.h"

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
  // Latent attention: down to a latent, its norm, up to the heads.
  kQueryDown,
  kQueryDownNorm,
  kQueryUp,
  kLatentDown,  // keys' and values' latent, and behind it the key part that all heads share
  kLatentNorm,
  kKeyValueUp,  // of each head the keys' rows, then the values'; or apart:
  kKeyUp,       // transposed
  kValueUp,
  // Mixture of experts.
  kRouter,
  kRouterBias,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  // Of a layer that predicts one token further: norms of the next token's embedding and of the
  // hidden state, the projection of both together, the norm before the head.
  kPredictionEmbeddingNorm,
  kPredictionHiddenNorm,
  kPredictionInput,
  kPredictionNorm,
  kSkipped,  // is in the file, and no forward reads it
};

inline constexpr int16_t kNoLayer = -1;

struct TensorSpec {
  std::string name;  // in this file; of a stack in pieces, with a * for the number of the piece
  Role role;
  int16_t layer = kNoLayer;  // kNoLayer: belongs to the whole model
  uint32_t experts = 1, rows = 1, columns = 1;
  WeightUse use = WeightUse::kMatrix;
  bool required = true;
  uint32_t pieces = 1;             // tensors that make up the stack, of experts / pieces each
  uint32_t experts_per_token = 0;  // how many of `experts` a token reads; 0: all
};

// The name of one of the tensors that a spec stands for.
std::string piece_name(const TensorSpec& spec, uint32_t piece);
// Those that are in the file, in their order: `pieces` of them, or none.
std::vector<const TensorInfo*> find_pieces(const TensorSpec& spec, const TensorIndex& tensors);

using Manifest = std::vector<TensorSpec>;

}  // namespace hadal
