#include <algorithm>
#include <array>
#include <string>

#include "model/latent_config.h"

namespace hadal {
namespace {

struct TensorName {
  Role role;
  std::string_view gguf, folder;  // of a layer: behind "blk.N." and "model.layers.N."
};
constexpr std::array kLayerTensors = {
    TensorName{Role::kAttentionNorm, "attn_norm.weight", "input_layernorm.weight"},
    TensorName{Role::kQuery, "attn_q.weight", "self_attn.q_proj.weight"},
    TensorName{Role::kQueryDown, "attn_q_a.weight", "self_attn.q_a_proj.weight"},
    TensorName{Role::kQueryDownNorm, "attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight"},
    TensorName{Role::kQueryUp, "attn_q_b.weight", "self_attn.q_b_proj.weight"},
    TensorName{Role::kLatentDown, "attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight"},
    TensorName{Role::kLatentNorm, "attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight"},
    TensorName{Role::kKeyValueUp, "attn_kv_b.weight", "self_attn.kv_b_proj.weight"},
    TensorName{Role::kKeyUp, "attn_k_b.weight", ""},
    TensorName{Role::kValueUp, "attn_v_b.weight", ""},
    TensorName{Role::kAttentionOutput, "attn_output.weight", "self_attn.o_proj.weight"},
    TensorName{Role::kFeedForwardNorm, "ffn_norm.weight", "post_attention_layernorm.weight"},
    TensorName{Role::kGate, "ffn_gate.weight", "mlp.gate_proj.weight"},
    TensorName{Role::kUp, "ffn_up.weight", "mlp.up_proj.weight"},
    TensorName{Role::kDown, "ffn_down.weight", "mlp.down_proj.weight"},
    TensorName{Role::kRouter, "ffn_gate_inp.weight", "mlp.gate.weight"},
    TensorName{Role::kRouterBias, "exp_probs_b.bias", "mlp.gate.e_score_correction_bias"},
    TensorName{Role::kExpertGate, "ffn_gate_exps.weight", "mlp.experts.*.gate_proj.weight"},
    TensorName{Role::kExpertUp, "ffn_up_exps.weight", "mlp.experts.*.up_proj.weight"},
    TensorName{Role::kExpertDown, "ffn_down_exps.weight", "mlp.experts.*.down_proj.weight"},
    TensorName{Role::kSharedGate, "ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight"},
    TensorName{Role::kSharedUp, "ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight"},
    TensorName{Role::kSharedDown, "ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight"},
    TensorName{Role::kPredictionEmbeddingNorm, "nextn.enorm.weight", "enorm.weight"},
    TensorName{Role::kPredictionHiddenNorm, "nextn.hnorm.weight", "hnorm.weight"},
    TensorName{Role::kPredictionInput, "nextn.eh_proj.weight", "eh_proj.weight"},
    TensorName{Role::kPredictionNorm, "nextn.shared_head_norm.weight", "shared_head.norm.weight"}};

std::string layer_prefix(uint32_t layer, Dialect dialect) {
  return fmt::format("{}.{}.", dialect == Dialect::kGguf ? "blk" : "model.layers", layer);
}

std::string tensor_name(Role role, uint32_t layer, Dialect dialect) {
  const auto& name = *std::find_if(kLayerTensors.begin(), kLayerTensors.end(),
                                   [role](const TensorName& one) { return one.role == role; });
  return layer_prefix(layer, dialect) +
         std::string(dialect == Dialect::kGguf ? name.gguf : name.folder);
}

class Lister {
 public:
  Lister(const LatentConfig& config, const TensorIndex& present, Dialect dialect)
      : c_(config), present_(present), dialect_(dialect) {}

  Manifest list() {
    const bool gguf = dialect_ == Dialect::kGguf;
    const std::string embedding = gguf ? "token_embd.weight" : "model.embed_tokens.weight";
    add_whole(embedding, Role::kEmbedding, c_.vocabulary, WeightUse::kMatrix);
    for (layer_ = 0; layer_ < c_.layers; ++layer_) list_layer();
    const std::string head = gguf ? "output.weight" : "lm_head.weight";
    add_whole(gguf ? "output_norm.weight" : "model.norm.weight", Role::kFinalNorm, 1,
              WeightUse::kVector);
    add_whole(c_.tied_head ? embedding : head, Role::kHead, c_.vocabulary, WeightUse::kMatrix);
    for (; layer_ < c_.cached_layers(); ++layer_) list_prediction_layer();
    skip_prediction_layers();
    return std::move(manifest_);
  }

 private:
  void add_whole(const std::string& name, Role role, uint32_t rows, WeightUse use) {
    manifest_.push_back(
        {.name = name, .role = role, .rows = rows, .columns = c_.width, .use = use});
  }
  TensorSpec& matrix(Role role, uint32_t rows, uint32_t columns) {
    return manifest_.emplace_back(TensorSpec{.name = tensor_name(role, layer_, dialect_),
                                             .role = role,
                                             .layer = static_cast<int16_t>(layer_),
                                             .rows = rows,
                                             .columns = columns});
  }
  TensorSpec& vector(Role role, uint32_t columns) {
    TensorSpec& spec = matrix(role, 1, columns);
    spec.use = WeightUse::kVector;
    return spec;
  }

  void list_layer() {
    list_attention();
    if (c_.has_experts(layer_)) {
      list_experts();
    } else {
      matrix(Role::kGate, c_.feed_forward_width, c_.width);
      matrix(Role::kUp, c_.feed_forward_width, c_.width);
      matrix(Role::kDown, c_.width, c_.feed_forward_width);
    }
  }

  // Embedding and head are the model's: what files have of them here is the same again.
  void list_prediction_layer() {
    vector(Role::kPredictionEmbeddingNorm, c_.width);
    vector(Role::kPredictionHiddenNorm, c_.width);
    matrix(Role::kPredictionInput, c_.width, 2 * c_.width);
    list_layer();
    vector(Role::kPredictionNorm, c_.width);
    const bool gguf = dialect_ == Dialect::kGguf;
    const std::string prefix = layer_prefix(layer_, dialect_);
    for (const char* name : {gguf ? "nextn.embed_tokens.weight" : "embed_tokens.weight",
                             gguf ? "nextn.shared_head_head.weight" : "shared_head.head.weight"}) {
      if (present_.has(prefix + name)) skip(prefix + name);
    }
  }

  void list_attention() {
    const uint32_t queries = c_.heads * c_.query_width();
    vector(Role::kAttentionNorm, c_.width);
    if (c_.query_latent == 0) {
      matrix(Role::kQuery, queries, c_.width);
    } else {
      matrix(Role::kQueryDown, c_.query_latent, c_.width);
      vector(Role::kQueryDownNorm, c_.query_latent);
      matrix(Role::kQueryUp, queries, c_.query_latent);
    }
    matrix(Role::kLatentDown, c_.latent + c_.rope_width, c_.width);
    vector(Role::kLatentNorm, c_.latent);
    list_up_projections();
    matrix(Role::kAttentionOutput, c_.width, c_.heads * c_.value_width);
    vector(Role::kFeedForwardNorm, c_.width);
  }

  // Apart where the file has them so: a matrix a head, or (ik_llama.cpp) all heads' rows in one.
  // Files made to serve both kinds of reader hold them together as well, which is then not read.
  void list_up_projections() {
    const uint32_t fused_rows = c_.heads * (c_.nope + c_.value_width);
    const TensorInfo* apart = dialect_ == Dialect::kGguf
                                  ? present_.find(tensor_name(Role::kKeyUp, layer_, dialect_))
                                  : nullptr;
    if (apart == nullptr) {
      matrix(Role::kKeyValueUp, fused_rows, c_.latent);
      return;
    }
    const auto up = [&](Role role, uint32_t rows, uint32_t columns) {
      const TensorInfo* info = present_.find(tensor_name(role, layer_, dialect_));
      const bool flat = info != nullptr && info->experts == 1;
      TensorSpec& spec = matrix(role, flat ? c_.heads * rows : rows, columns);
      spec.experts = flat ? 1 : c_.heads;
    };
    up(Role::kKeyUp, c_.latent, c_.nope);
    up(Role::kValueUp, c_.value_width, c_.latent);
    const std::string fused = tensor_name(Role::kKeyValueUp, layer_, dialect_);
    if (present_.has(fused)) skip(fused);
  }

  void list_experts() {
    matrix(Role::kRouter, c_.experts, c_.width);
    if (c_.routing.bias) {
      TensorSpec& spec = vector(Role::kRouterBias, c_.experts);
      const std::string old_name = layer_prefix(layer_, dialect_) + "exp_probs_b";
      if (dialect_ == Dialect::kGguf && present_.has(old_name)) spec.name = old_name;
    }
    const auto stack = [&](Role role, uint32_t rows, uint32_t columns) {
      TensorSpec& spec = matrix(role, rows, columns);
      spec.experts = c_.experts;
      spec.pieces = dialect_ == Dialect::kGguf ? 1 : c_.experts;
      spec.experts_per_token = c_.experts_per_token;
    };
    stack(Role::kExpertGate, c_.expert_width, c_.width);
    stack(Role::kExpertUp, c_.expert_width, c_.width);
    stack(Role::kExpertDown, c_.width, c_.expert_width);
    if (c_.shared_width == 0) return;
    matrix(Role::kSharedGate, c_.shared_width, c_.width);
    matrix(Role::kSharedUp, c_.shared_width, c_.width);
    matrix(Role::kSharedDown, c_.width, c_.shared_width);
  }

  void skip(const std::string& name) {
    manifest_.push_back({.name = name, .role = Role::kSkipped, .required = false});
  }
  void skip_prediction_layers() {
    const uint32_t count = prediction_layers(present_, c_.layers, dialect_);
    for (uint32_t layer = c_.cached_layers(); layer < c_.layers + count; ++layer) {
      const std::string prefix = layer_prefix(layer, dialect_);
      const auto& all = present_.tensors();
      for (auto at = all.lower_bound(prefix); at != all.end() && at->first.starts_with(prefix);
           ++at) {
        skip(at->first);
      }
    }
  }

  const LatentConfig& c_;
  const TensorIndex& present_;
  const Dialect dialect_;
  uint32_t layer_ = 0;
  Manifest manifest_;
};

}  // namespace

Manifest latent_manifest(const ModelConfig& config, const TensorIndex& present, Dialect dialect) {
  return Lister(static_cast<const LatentConfig&>(config), present, dialect).list();
}

uint32_t prediction_layers(const TensorIndex& tensors, uint32_t layers, Dialect dialect) {
  const std::string_view mark =
      dialect == Dialect::kGguf ? "nextn.eh_proj.weight" : "eh_proj.weight";
  uint32_t count = 0;
  while (tensors.has(layer_prefix(layers + count, dialect) + std::string(mark))) ++count;
  return count;
}

}  // namespace hadal
