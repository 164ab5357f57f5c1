#include "model/latent_config.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "model/rope_config.h"

namespace hadal {
namespace {

Status read_rope(ConfigFields& fields, LatentConfig& config) {
  HADAL_TRY(
      const RopeSettings rope,
      read_rope_settings(fields, config.rope_width, config.context_max, RopeMagnitudes::kDeepSeek));
  if (rope.rotated_width != config.rope_width) {
    return fail("{}: rope turns {} of {} values; for the architecture {} it turns all of them",
                fields.file(), rope.rotated_width, config.rope_width, fields.architecture());
  }
  config.rope = rope_frequencies(rope);
  config.context_max = stretched_context(rope.scaling, config.context_max);
  const double magnitude = rope.scaling.mscale_all_dimensions
                               ? rope_magnitude(rope.scaling, *rope.scaling.mscale_all_dimensions)
                               : 1.0;
  config.scale = static_cast<float>(magnitude * magnitude /
                                    std::sqrt(static_cast<double>(config.query_width())));
  return {};
}

Status check_widths(const ConfigFields& fields, const LatentConfig& c) {
  const uint64_t widest = uint64_t{c.heads} * (c.query_width() + c.value_width);
  if (widest > kFeedForwardWidthMax) {
    return fail("{}: {} heads of {} and {} values are more than hadal takes ({} values in all)",
                fields.file(), c.heads, c.query_width(), c.value_width, kFeedForwardWidthMax);
  }
  return {};
}

// The experts that every token goes to are stored as one, as wide as all.
Status set_shared_width(const ConfigFields& fields, uint32_t shared_experts, LatentConfig& config) {
  const uint64_t width = uint64_t{shared_experts} * config.expert_width;
  if (width > kFeedForwardWidthMax) {
    return fail("{}: {} shared experts of {} values are more than hadal takes ({} values in all)",
                fields.file(), shared_experts, config.expert_width, kFeedForwardWidthMax);
  }
  config.shared_width = static_cast<uint32_t>(width);
  return {};
}

}  // namespace

Status read_latent_folder_config(ConfigFields& fields, const TensorIndex& tensors,
                                 std::string_view folder_class, LatentConfig& c) {
  HADAL_TRY_VOID(read_common_config(fields, tensors, c));
  HADAL_TRY(c.heads, fields.count("num_attention_heads", kHeadsMax));
  HADAL_TRY(c.query_latent, fields.count_or("q_lora_rank", kLatentWidthMax, 0));
  HADAL_TRY(c.latent, fields.count("kv_lora_rank", kLatentWidthMax));
  HADAL_TRY(c.nope, fields.count("qk_nope_head_dim", kHeadWidthMax));
  HADAL_TRY(c.rope_width, fields.count("qk_rope_head_dim", kHeadWidthMax));
  HADAL_TRY(c.value_width, fields.count("v_head_dim", kHeadWidthMax));
  HADAL_TRY_VOID(check_widths(fields, c));
  HADAL_TRY_VOID(fields.only({{"qk_head_dim", static_cast<double>(c.query_width())}}));
  HADAL_TRY(const bool interleaved, fields.flag_or("rope_interleave", true));
  c.rope_pairs = interleaved ? RopePairs::kInterleaved : RopePairs::kHalves;
  HADAL_TRY_VOID(read_rope(fields, c));

  HADAL_TRY(c.feed_forward_width, fields.count("intermediate_size", kFeedForwardWidthMax));
  HADAL_TRY(c.experts, fields.count_or_none("n_routed_experts", kExpertsMax, 0));
  if (c.experts != 0) {
    HADAL_TRY(c.experts_per_token, fields.count("num_experts_per_tok", c.experts));
    HADAL_TRY(c.expert_width, fields.count("moe_intermediate_size", kFeedForwardWidthMax));
    HADAL_TRY(c.dense_layers, fields.count_or_none("first_k_dense_replace", kLayersMax, 0));
    HADAL_TRY(c.expert_layer_step, fields.count_or("moe_layer_freq", kLayersMax, 1));
    HADAL_TRY(const uint32_t shared, fields.count_or_none("n_shared_experts", kExpertsMax, 0));
    HADAL_TRY_VOID(set_shared_width(fields, shared, c));
  } else {  // nobody is routed, whatever stands there
    fields.harmless({"num_experts_per_tok", "moe_intermediate_size", "first_k_dense_replace",
                     "moe_layer_freq", "n_shared_experts", "scoring_func", "topk_method", "n_group",
                     "topk_group", "norm_topk_prob", "routed_scaling_factor"});
  }
  fields.harmless({"num_key_value_heads",  // of attention without latents: not read
                   "head_dim", "num_nextn_predict_layers", "num_mtp_layers",
                   "ep_size",  // how training was spread
                   "aux_loss_alpha", "seq_aux", "router_aux_loss_coef", "output_router_logits"});
  fields.harmless_section("auto_map");
  return check_common_folder_fields(fields, folder_class);
}

Status read_latent_gguf_config(ConfigFields& fields, const TensorIndex& tensors, LatentConfig& c) {
  HADAL_TRY_VOID(read_common_config(fields, tensors, c));
  HADAL_TRY(const uint32_t predicting, fields.count_or_none("nextn_predict_layers", kLayersMax, 0));
  if (predicting >= c.layers) {
    return fail("{}: {} is {}, of {} layers in all", fields.file(),
                fields.full_key("nextn_predict_layers"), predicting, c.layers);
  }
  c.layers -= predicting;
  HADAL_TRY(c.heads, fields.count("attention.head_count", kHeadsMax));
  HADAL_TRY(c.query_latent, fields.count_or_none("attention.q_lora_rank", kLatentWidthMax, 0));
  HADAL_TRY(c.latent, fields.count("attention.kv_lora_rank", kLatentWidthMax));
  HADAL_TRY(c.rope_width, fields.count("rope.dimension_count", kHeadWidthMax));
  // Since latents are cached, the plain keys state what a cached row is, and those with _mla what a
  // head's query and value are; before, the plain ones did.
  const bool both = fields.has("attention.key_length_mla");
  const std::string suffix = both ? "_mla" : "";
  HADAL_TRY(const uint32_t query_width,
            fields.count("attention.key_length" + suffix, kHeadWidthMax));
  HADAL_TRY(c.value_width, fields.count("attention.value_length" + suffix, kHeadWidthMax));
  if (query_width <= c.rope_width) {
    return fail("{}: {} is {}; it must be more than {}, {}", fields.file(),
                fields.full_key("attention.key_length" + suffix), query_width,
                fields.full_key("rope.dimension_count"), c.rope_width);
  }
  c.nope = query_width - c.rope_width;
  if (both) {
    HADAL_TRY_VOID(
        fields.only({{"attention.key_length", static_cast<double>(c.latent + c.rope_width)},
                     {"attention.value_length", static_cast<double>(c.latent)}}));
  }
  HADAL_TRY_VOID(check_widths(fields, c));
  HADAL_TRY_VOID(read_rope(fields, c));

  HADAL_TRY(c.feed_forward_width, fields.count("feed_forward_length", kFeedForwardWidthMax));
  HADAL_TRY(c.experts, fields.count_or_none("expert_count", kExpertsMax, 0));
  HADAL_TRY(c.dense_layers, fields.count_or_none("leading_dense_block_count", kLayersMax, 0));
  if (c.experts != 0) {
    HADAL_TRY(c.experts_per_token, fields.count("expert_used_count", c.experts));
    HADAL_TRY(c.expert_width, fields.count("expert_feed_forward_length", kFeedForwardWidthMax));
    HADAL_TRY(const uint32_t shared, fields.count_or_none("expert_shared_count", kExpertsMax, 0));
    HADAL_TRY_VOID(set_shared_width(fields, shared, c));
  } else {
    fields.harmless({"expert_weights_scale", "expert_weights_norm", "expert_gating_func",
                     "expert_group_count", "expert_group_used_count"});
  }
  HADAL_TRY_VOID(fields.only({{"attention.temperature_scale", 0.0}}));
  fields.harmless({"attention.head_count_kv",  // of attention without latents, or 1: not read
                   "attention.temperature_length", "expert_feed_forward_length",
                   "expert_shared_count", "expert_used_count"});
  return check_common_gguf_fields(fields);
}

Status finish_latent_config(const ConfigFields& fields, const TensorIndex& tensors,
                            LatentConfig& c) {
  const Routing& routing = c.routing;
  if (c.experts != 0) {
    if (c.experts % routing.groups != 0 || routing.groups_kept > routing.groups) {
      return fail("{}: {} experts in {} groups, of which {} are kept: that cannot be",
                  fields.file(), c.experts, routing.groups, routing.groups_kept);
    }
    const uint32_t group_experts = c.experts / routing.groups;
    if (routing.group_value == GroupValue::kTopTwo && group_experts < 2) {
      return fail("{}: {} experts in {} groups: a group is judged by its two best experts",
                  fields.file(), c.experts, routing.groups);
    }
    if (c.experts_per_token > group_experts * routing.groups_kept) {
      return fail("{}: {} experts are wanted for each token; the groups that are kept have {}",
                  fields.file(), c.experts_per_token, group_experts * routing.groups_kept);
    }
  }
  finish_config(fields, c);
  const uint32_t predicting = prediction_layers(tensors, c.layers, fields.dialect());
  c.prediction_layers = std::min(predicting, 1u);
  if (predicting > 1) {
    c.warnings.push_back(fmt::format(
        "{}: has {} layers for predicting several tokens at once (MTP); only the first can be used",
        fields.file(), predicting));
  }
  return {};
}

}  // namespace hadal
