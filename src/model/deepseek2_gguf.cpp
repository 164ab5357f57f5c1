// DeepSeek-V2 and V3 and what is shaped like them, as a GGUF has them: one architecture,
// "deepseek2", whose metadata tell the routers apart (model/deepseek_v2.cpp,
// model/deepseek_v3.cpp). What it leaves out has changed over the years of its converter.
#include <algorithm>

#include "model/architectures.h"
#include "model/latent_config.h"
#include "model/latent_decoder.h"

namespace hadal {
namespace {

// expert_gating_func
constexpr uint32_t kGatingSoftmax = 1, kGatingSigmoid = 2;

bool has_router_bias(const TensorIndex& tensors) {
  for (const auto& [name, info] : tensors.tensors()) {
    if (name.ends_with(".exp_probs_b.bias") || name.ends_with(".exp_probs_b")) return true;
  }
  return false;
}

// Files of before 2025 do not state it: then it is V2's, or, with a bias, V3's.
Result<RouterScores> read_scores(ConfigFields& fields, const Routing& routing) {
  const uint32_t unstated = routing.bias ? kGatingSigmoid : kGatingSoftmax;
  HADAL_TRY(uint32_t gating, fields.count_or_none("expert_gating_func", UINT32_MAX, 0));
  if (gating == 0) gating = unstated;
  if (gating == kGatingSoftmax) return RouterScores::kSoftmax;
  if (gating == kGatingSigmoid) return RouterScores::kSigmoid;
  return fail("{}: {} is {}; hadal implements 1 (softmax) and 2 (sigmoid)", fields.file(),
              fields.full_key("expert_gating_func"), gating);
}

// Files of before the end of 2025 do not state them, and their runtimes did without; the models
// were trained with them. DeepSeek published grouped models of these two numbers of experts.
Status read_groups(ConfigFields& fields, LatentConfig& config) {
  Routing& routing = config.routing;
  const bool softmax = routing.scores == RouterScores::kSoftmax;
  routing.group_value = softmax && !routing.bias ? GroupValue::kGreatest : GroupValue::kTopTwo;
  if (fields.has("expert_group_count")) {
    HADAL_TRY(const uint32_t groups, fields.count_or_none("expert_group_count", kExpertsMax, 1));
    HADAL_TRY(const uint32_t kept,
              fields.count_or_none("expert_group_used_count", kExpertsMax, groups));
    routing.groups = std::max(groups, 1u);  // 0: none, as 1
    routing.groups_kept = groups <= 1 ? 1 : kept;
    if (routing.groups_kept == 0) {
      return fail("{}: {} is 0, of {} groups", fields.file(),
                  fields.full_key("expert_group_used_count"), groups);
    }
    return {};
  }
  if (config.experts == 256 && !softmax) {
    routing.groups = 8;
    routing.groups_kept = 4;
  } else if (config.experts == 160 && softmax) {
    routing.groups = 8;
    routing.groups_kept = 3;
  } else {
    return {};
  }
  config.warnings.push_back(
      fmt::format("{}: has no {}; it is taken as {}, of which {} are kept, as DeepSeek published "
                  "the model of {} experts",
                  fields.file(), fields.full_key("expert_group_count"), routing.groups,
                  routing.groups_kept, config.experts));
  return {};
}

Status read_routing(ConfigFields& fields, const TensorIndex& tensors, LatentConfig& config) {
  Routing& routing = config.routing;
  routing.bias = has_router_bias(tensors);
  HADAL_TRY(routing.scores, read_scores(fields, routing));
  HADAL_TRY_VOID(read_groups(fields, config));
  HADAL_TRY(const bool normalised, fields.flag_or("expert_weights_norm", false));
  if (normalised && config.experts_per_token > 1) routing.normalise = RouterWeights::kNormalised;
  HADAL_TRY(const double scaling, fields.number_or("expert_weights_scale", 0, 0));
  if (scaling != 0) routing.scaling = static_cast<float>(scaling);  // 0: not given
  if (routing.normalise == RouterWeights::kNormalised && routing.scaling != 1 &&
      routing.scores == RouterScores::kSoftmax) {
    return fail(
        "{}: {} beside {} for softmax scores: DeepSeek-V2's code gives only one of them effect, "
        "others' both; hadal cannot tell which is meant",
        fields.file(), fields.full_key("expert_weights_norm"),
        fields.full_key("expert_weights_scale"));
  }
  return {};
}

Result<std::unique_ptr<ModelConfig>> read_config(const Metadata& metadata,
                                                 const TensorIndex& tensors) {
  ConfigFields fields(metadata, kDeepSeek2Gguf.name);
  auto config = std::make_unique<LatentConfig>();
  HADAL_TRY_VOID(read_latent_gguf_config(fields, tensors, *config));
  if (config->experts != 0) HADAL_TRY_VOID(read_routing(fields, tensors, *config));
  HADAL_TRY_VOID(finish_latent_config(fields, tensors, *config));
  return config;
}

}  // namespace

const Architecture kDeepSeek2Gguf = {"deepseek2", read_config, latent_manifest,
                                     build_latent_decoder, latent_decoder_scratch_bytes};

}  // namespace hadal
