// The numbers of DeepSeek's transformers: latent attention (arXiv 2405.04434, section 2.1) and a
// mixture of experts (section 2.2, arXiv 2401.06066; arXiv 2412.19437, section 2.1), and the
// tensors they consist of. An architecture adds how its router chooses.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "device/ops.h"
#include "file/tensor_index.h"
#include "model/common_config.h"
#include "model/config_fields.h"
#include "model/manifest.h"
#include "model/rope_frequencies.h"

namespace hadal {

inline constexpr uint32_t kLatentWidthMax = 1u << 16;  // 128 times DeepSeek-V3's
inline constexpr uint32_t kExpertsMax = 1u << 14;

// RouteArgs without its tensors.
struct Routing {
  RouterScores scores = RouterScores::kSoftmax;
  GroupValue group_value = GroupValue::kGreatest;
  RouterWeights normalise = RouterWeights::kPlain;
  uint32_t groups = 1, groups_kept = 1;
  float scaling = 1.0f;
  bool bias = false;  // added to the scores for the choice alone
};

struct LatentConfig : CommonConfig {
  uint32_t heads = 0;
  uint32_t query_latent = 0;  // 0: queries are projected at once
  uint32_t latent = 0;        // of keys and values
  uint32_t nope = 0;          // values of a head's query and key that no position turns
  uint32_t rope_width = 0;    // values that one does; the key's are shared by all heads
  uint32_t value_width = 0;   // of a head
  RopePairs rope_pairs = RopePairs::kInterleaved;
  RopeFrequencies rope;
  float scale = 0;  // of the scores: 1 / root(nope + rope_width), YaRN's magnitude squared

  uint32_t feed_forward_width = 0;  // of a dense layer
  uint32_t dense_layers = 0;        // the first
  uint32_t expert_layer_step = 1;   // behind those, layers divisible by this have experts
  uint32_t experts = 0;             // 0: every layer is dense
  uint32_t experts_per_token = 0;
  uint32_t expert_width = 0;
  uint32_t shared_width = 0;  // of all the experts that every token goes to, as one; 0: none
  Routing routing;

  bool has_experts(uint32_t layer) const {
    return experts != 0 && layer >= dense_layers && layer % expert_layer_step == 0;
  }
  uint32_t query_width() const { return nope + rope_width; }  // of a head
  AttentionWork attention_work() const override {
    const uint64_t all_heads = uint64_t{layers} * heads;
    return {.pair = all_heads * (2 * latent + rope_width),
            .expanded_pair = all_heads * (query_width() + value_width),
            .expanded_position = all_heads * (nope + value_width) * latent};
  }
  KvLayout kv_layout() const override {
    return {
        .layers = cached_layers(), .key_columns = latent + rope_width, .type = QuantType::kBF16};
  }
};

// Everything above but `routing`, of config.json or of a GGUF's "deepseek2". Errors name the field.
Status read_latent_folder_config(ConfigFields& fields, const TensorIndex& tensors,
                                 std::string_view folder_class, LatentConfig& config);
Status read_latent_gguf_config(ConfigFields& fields, const TensorIndex& tensors,
                               LatentConfig& config);
// The last step: holds the routing against the experts, says what of the file goes unused.
Status finish_latent_config(const ConfigFields& fields, const TensorIndex& tensors,
                            LatentConfig& config);

// Architecture::manifest of all of them.
Manifest latent_manifest(const ModelConfig& config, const TensorIndex& present, Dialect dialect);

// Layers behind the model's own that predict more than one token (multi-token prediction, arXiv
// 2412.19437, section 2.2): how many the file has.
uint32_t prediction_layers(const TensorIndex& tensors, uint32_t layers, Dialect dialect);

}  // namespace hadal
