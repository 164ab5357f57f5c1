// DeepSeek-V3, R1 and V3.1 (arXiv 2412.19437), and the models of others that have its shape
// (Moonlight, Kimi K2), as a Hugging Face folder has them. Latent attention and shared experts are
// V2's: model/latent_decoder. The router's scores are sigmoids; a bias that training moved to even
// the load is added for the choice alone (noaux_tc: section 2.1.2); a group is as good as its two
// best experts; the chosen scores, made to sum to one, are the weights.
#include "model/architectures.h"
#include "model/latent_config.h"
#include "model/latent_decoder.h"

namespace hadal {
namespace {

Result<Routing> read_routing(ConfigFields& fields) {
  Routing routing = {
      .scores = RouterScores::kSigmoid, .group_value = GroupValue::kTopTwo, .bias = true};
  HADAL_TRY_VOID(fields.only({{"scoring_func", std::string_view("sigmoid")},
                              {"topk_method", std::string_view("noaux_tc")}}));
  HADAL_TRY(routing.groups, fields.count("n_group", kExpertsMax));
  HADAL_TRY(routing.groups_kept, fields.count("topk_group", routing.groups));
  HADAL_TRY(const bool normalised, fields.flag_or("norm_topk_prob", true));
  HADAL_TRY(const uint32_t chosen, fields.count("num_experts_per_tok", kExpertsMax));
  // DeepSeek's code leaves a single expert's weight as its score.
  if (normalised && chosen > 1) routing.normalise = RouterWeights::kNormalised;
  HADAL_TRY(const double scaling, fields.number("routed_scaling_factor", 0));
  routing.scaling = static_cast<float>(scaling);
  return routing;
}

Result<std::unique_ptr<ModelConfig>> read_config(const Metadata& metadata,
                                                 const TensorIndex& tensors) {
  ConfigFields fields(metadata, kDeepSeekV3.name);
  auto config = std::make_unique<LatentConfig>();
  HADAL_TRY_VOID(read_latent_folder_config(fields, tensors, "DeepseekV3ForCausalLM", *config));
  if (config->experts != 0) {
    HADAL_TRY(config->routing, read_routing(fields));
  }
  HADAL_TRY_VOID(finish_latent_config(fields, tensors, *config));
  return config;
}

}  // namespace

const Architecture kDeepSeekV3 = {"deepseek_v3", read_config, latent_manifest, build_latent_decoder,
                                  latent_decoder_scratch_bytes};
const Architecture kKimiK2 = {"kimi_k2", read_config, latent_manifest, build_latent_decoder,
                              latent_decoder_scratch_bytes};

}  // namespace hadal
