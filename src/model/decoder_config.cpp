#include "model/decoder_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "model/common_config.h"
#include "model/rope_config.h"

namespace hadal {
namespace {

// The same numbers in the two dialects.
struct ShapeNames {
  std::string_view heads, kv_heads, head_width, feed_forward_width;
};
constexpr ShapeNames kGgufNames = {.heads = "attention.head_count",
                                   .kv_heads = "attention.head_count_kv",
                                   .head_width = "attention.key_length",
                                   .feed_forward_width = "feed_forward_length"};
constexpr ShapeNames kFolderNames = {.heads = "num_attention_heads",
                                     .kv_heads = "num_key_value_heads",
                                     .head_width = "head_dim",
                                     .feed_forward_width = "intermediate_size"};

struct TensorName {
  Role role;
  std::string_view gguf, folder;  // of a layer: behind "blk.N." and "model.layers.N."
};
constexpr std::array kModelTensors = {
    TensorName{Role::kEmbedding, "token_embd.weight", "model.embed_tokens.weight"},
    TensorName{Role::kFinalNorm, "output_norm.weight", "model.norm.weight"},
    TensorName{Role::kHead, "output.weight", "lm_head.weight"},
    TensorName{Role::kRopeFactors, "rope_freqs.weight", ""}};
constexpr std::array kLayerTensors = {
    TensorName{Role::kAttentionNorm, "attn_norm.weight", "input_layernorm.weight"},
    TensorName{Role::kQuery, "attn_q.weight", "self_attn.q_proj.weight"},
    TensorName{Role::kQueryBias, "attn_q.bias", "self_attn.q_proj.bias"},
    TensorName{Role::kKey, "attn_k.weight", "self_attn.k_proj.weight"},
    TensorName{Role::kKeyBias, "attn_k.bias", "self_attn.k_proj.bias"},
    TensorName{Role::kValue, "attn_v.weight", "self_attn.v_proj.weight"},
    TensorName{Role::kValueBias, "attn_v.bias", "self_attn.v_proj.bias"},
    TensorName{Role::kQueryNorm, "attn_q_norm.weight", "self_attn.q_norm.weight"},
    TensorName{Role::kKeyNorm, "attn_k_norm.weight", "self_attn.k_norm.weight"},
    TensorName{Role::kAttentionOutput, "attn_output.weight", "self_attn.o_proj.weight"},
    TensorName{Role::kFeedForwardNorm, "ffn_norm.weight", "post_attention_layernorm.weight"},
    TensorName{Role::kGate, "ffn_gate.weight", "mlp.gate_proj.weight"},
    TensorName{Role::kUp, "ffn_up.weight", "mlp.up_proj.weight"},
    TensorName{Role::kDown, "ffn_down.weight", "mlp.down_proj.weight"}};

std::string tensor_name(Role role, int16_t layer, Dialect dialect) {
  const auto is_it = [role](const TensorName& name) { return name.role == role; };
  const bool gguf = dialect == Dialect::kGguf;
  if (layer == kNoLayer) {
    const auto& name = *std::find_if(kModelTensors.begin(), kModelTensors.end(), is_it);
    return std::string(gguf ? name.gguf : name.folder);
  }
  const auto& name = *std::find_if(kLayerTensors.begin(), kLayerTensors.end(), is_it);
  return gguf ? fmt::format("blk.{}.{}", layer, name.gguf)
              : fmt::format("model.layers.{}.{}", layer, name.folder);
}

Status read_heads(ConfigFields& fields, const ShapeNames& names, const DecoderTraits& traits,
                  DecoderConfig& config) {
  const bool gguf = fields.dialect() == Dialect::kGguf;
  HADAL_TRY(config.heads, fields.count(names.heads, kHeadsMax));
  if (gguf || traits.kv_heads_may_be_absent) {
    HADAL_TRY(config.kv_heads, fields.count_or(names.kv_heads, kHeadsMax, config.heads));
  } else {
    HADAL_TRY(config.kv_heads, fields.count(names.kv_heads, kHeadsMax));
  }
  if (config.heads % config.kv_heads != 0) {
    return fail("{}: {} is {}, which does not divide {}, {}", fields.file(),
                fields.full_key(names.kv_heads), config.kv_heads, fields.full_key(names.heads),
                config.heads);
  }
  const bool derived = (gguf || traits.head_width_may_be_absent) && !fields.has(names.head_width);
  if (derived && config.width % config.heads != 0) {
    return fail("{}: {} is {}, which does not divide {}, {}, and {} is not given", fields.file(),
                fields.full_key(names.heads), config.heads,
                fields.full_key(gguf ? "embedding_length" : "hidden_size"), config.width,
                fields.full_key(names.head_width));
  }
  if (derived) {
    config.head_width = config.width / config.heads;
  } else {
    HADAL_TRY(config.head_width, fields.count(names.head_width, kHeadWidthMax));
  }
  if (config.head_width > kHeadWidthMax ||
      uint64_t{config.heads} * config.head_width > kFeedForwardWidthMax) {
    return fail("{}: {} heads of {} values are more than hadal takes ({} heads' values in all)",
                fields.file(), config.heads, config.head_width, kFeedForwardWidthMax);
  }
  return {};
}

// GGUF: 1 x rotated width / 2 divisors of the frequencies.
Result<std::vector<float>> read_rope_divisors(const ConfigFields& fields,
                                              const TensorIndex& tensors, uint32_t pairs) {
  const TensorInfo* info = tensors.find(tensor_name(Role::kRopeFactors, kNoLayer, Dialect::kGguf));
  if (info == nullptr || info->data.empty()) return std::vector<float>();  // empty: a header alone
  if (uint64_t{info->rows} * info->experts != 1 || info->columns != pairs) {
    return fail("{}: tensor {} has {} x {} x {} values, expected {}", fields.file(), info->name,
                info->experts, info->rows, info->columns, pairs);
  }
  const QuantFormat& format = quant_format(info->type);
  if (info->columns % format.block_values != 0) {
    return fail("{}: tensor {} has {} values, not a multiple of {}'s block of {}", fields.file(),
                info->name, info->columns, format.name, format.block_values);
  }
  std::vector<float> divisors(pairs);
  format.decode(info->data.data(), divisors.data(), divisors.size());
  for (const float divisor : divisors) {
    if (!std::isfinite(divisor) || divisor <= 0) {
      return fail("{}: tensor {} holds {}; a divisor of a frequency is positive and finite",
                  fields.file(), info->name, divisor);
    }
  }
  return divisors;
}

// A window as long as the context is none.
Status check_sliding_window(ConfigFields& fields, uint32_t context) {
  const bool gguf = fields.dialect() == Dialect::kGguf;
  const std::string_view key = gguf ? "attention.sliding_window" : "sliding_window";
  HADAL_TRY(const bool used, fields.flag_or("use_sliding_window", gguf && fields.has(key)));
  if (used) {
    HADAL_TRY(const uint32_t window, fields.count(key, UINT32_MAX));
    if (window < context) {
      return fail(
          "{}: {} is {}, less than the context of {}: hadal does not implement sliding "
          "windows for the architecture {}",
          fields.file(), fields.full_key(key), window, context, fields.architecture());
    }
    fields.harmless({"layer_types"});
  } else if (fields.has("use_sliding_window")) {
    fields.harmless({"sliding_window"});
  }
  fields.harmless({"max_window_layers"});
  if (used) return {};
  return fields.only({{"layer_types", std::string_view("full_attention")}});
}

}  // namespace

Status read_decoder_config(ConfigFields& fields, const TensorIndex& tensors,
                           const DecoderTraits& traits, DecoderConfig& config) {
  const bool gguf = fields.dialect() == Dialect::kGguf;
  const ShapeNames& names = gguf ? kGgufNames : kFolderNames;
  HADAL_TRY_VOID(read_common_config(fields, tensors, config));
  HADAL_TRY_VOID(read_heads(fields, names, traits, config));
  HADAL_TRY(config.feed_forward_width,
            fields.count(names.feed_forward_width, kFeedForwardWidthMax));
  HADAL_TRY(RopeSettings rope, read_rope_settings(fields, config.head_width, config.context_max));
  if (gguf && traits.rope_factors) {
    HADAL_TRY(rope.divisors, read_rope_divisors(fields, tensors, rope.rotated_width / 2));
  }
  config.rope_pairs = gguf ? traits.gguf_pairs : RopePairs::kHalves;
  config.rope = rope_frequencies(rope);
  config.context_max = stretched_context(rope.scaling, config.context_max);
  HADAL_TRY_VOID(check_sliding_window(fields, config.context_max));
  if (!gguf) return check_common_folder_fields(fields, traits.folder_class);
  HADAL_TRY_VOID(fields.only({{"attention.value_length", static_cast<double>(config.head_width)},
                              {"expert_count", 0.0},
                              {"expert_used_count", 0.0}}));
  return check_common_gguf_fields(fields);
}

Manifest decoder_manifest(const DecoderConfig& c, const TensorIndex& present, Dialect dialect,
                          const DecoderTraits& traits,
                          std::initializer_list<LayerVector> layer_vectors) {
  Manifest manifest;
  const auto add = [&](Role role, int16_t layer, uint32_t rows, uint32_t columns, WeightUse use) {
    manifest.push_back({.name = tensor_name(role, layer, dialect),
                        .role = role,
                        .layer = layer,
                        .rows = rows,
                        .columns = columns,
                        .use = use});
  };
  const uint32_t query_width = c.heads * c.head_width;
  const uint32_t kv_width = c.kv_heads * c.head_width;

  add(Role::kEmbedding, kNoLayer, c.vocabulary, c.width, WeightUse::kMatrix);
  const std::string factors = tensor_name(Role::kRopeFactors, kNoLayer, Dialect::kGguf);
  if (traits.rope_factors && dialect == Dialect::kGguf && present.has(factors)) {
    const auto pairs = static_cast<uint32_t>(c.rope.frequencies.size());
    add(Role::kRopeFactors, kNoLayer, 1, pairs, WeightUse::kVector);
  }
  for (int16_t layer = 0; layer < static_cast<int16_t>(c.layers); ++layer) {
    add(Role::kAttentionNorm, layer, 1, c.width, WeightUse::kVector);
    add(Role::kQuery, layer, query_width, c.width, WeightUse::kMatrix);
    add(Role::kKey, layer, kv_width, c.width, WeightUse::kMatrix);
    add(Role::kValue, layer, kv_width, c.width, WeightUse::kMatrix);
    for (const LayerVector& vector : layer_vectors) {
      add(vector.role, layer, 1, vector.columns, WeightUse::kVector);
    }
    add(Role::kAttentionOutput, layer, c.width, query_width, WeightUse::kMatrix);
    add(Role::kFeedForwardNorm, layer, 1, c.width, WeightUse::kVector);
    add(Role::kGate, layer, c.feed_forward_width, c.width, WeightUse::kMatrix);
    add(Role::kUp, layer, c.feed_forward_width, c.width, WeightUse::kMatrix);
    add(Role::kDown, layer, c.width, c.feed_forward_width, WeightUse::kMatrix);
  }
  add(Role::kFinalNorm, kNoLayer, 1, c.width, WeightUse::kVector);
  add(Role::kHead, kNoLayer, c.vocabulary, c.width, WeightUse::kMatrix);
  if (c.tied_head) manifest.back().name = manifest.front().name;
  return manifest;
}

}  // namespace hadal
