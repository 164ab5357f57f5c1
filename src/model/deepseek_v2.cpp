// DeepSeek-V2, V2-Lite, V2.5 and Coder-V2 (arXiv 2405.04434), as a Hugging Face folder has them.
// Latent attention and shared experts: model/latent_decoder. The router's scores are a softmax over
// all experts; the best of them are chosen outright (greedy: V2-Lite), or from the groups whose
// best expert is best (group_limited_greedy: section 2.2.2), and their scores are the weights.
#include "model/architectures.h"
#include "model/latent_config.h"
#include "model/latent_decoder.h"

namespace hadal {
namespace {

Result<Routing> read_routing(ConfigFields& fields) {
  Routing routing;
  HADAL_TRY_VOID(fields.only({{"scoring_func", std::string_view("softmax")}}));
  HADAL_TRY(const std::string_view method, fields.string_or("topk_method", "greedy"));
  if (method == "group_limited_greedy") {
    HADAL_TRY(routing.groups, fields.count("n_group", kExpertsMax));
    HADAL_TRY(routing.groups_kept, fields.count("topk_group", routing.groups));
  } else {
    HADAL_TRY_VOID(fields.only({{"topk_method", std::string_view("greedy")}}));
    fields.harmless({"n_group", "topk_group"});  // a greedy choice knows no groups
  }
  HADAL_TRY(const bool normalised, fields.flag_or("norm_topk_prob", false));
  HADAL_TRY(const double scaling, fields.number_or("routed_scaling_factor", 0, 1));
  HADAL_TRY(const uint32_t chosen, fields.count("num_experts_per_tok", kExpertsMax));
  // DeepSeek's code scales what it does not normalise; a single expert's weight is its score.
  if (normalised && chosen > 1) {
    routing.normalise = RouterWeights::kNormalised;
  } else {
    routing.scaling = static_cast<float>(scaling);
  }
  return routing;
}

Result<std::unique_ptr<ModelConfig>> read_config(const Metadata& metadata,
                                                 const TensorIndex& tensors) {
  ConfigFields fields(metadata, kDeepSeekV2.name);
  auto config = std::make_unique<LatentConfig>();
  HADAL_TRY_VOID(read_latent_folder_config(fields, tensors, "DeepseekV2ForCausalLM", *config));
  if (config->experts != 0) {
    HADAL_TRY(config->routing, read_routing(fields));
  }
  HADAL_TRY_VOID(finish_latent_config(fields, tensors, *config));
  return config;
}

}  // namespace

const Architecture kDeepSeekV2 = {"deepseek_v2", read_config, latent_manifest, build_latent_decoder,
                                  latent_decoder_scratch_bytes};

}  // namespace hadal
