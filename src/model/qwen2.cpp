// Qwen 2 and 2.5 (arXiv 2407.10671, 2412.15115): as Llama, with biases on queries, keys and values.
#include "model/architectures.h"
#include "model/decoder.h"

namespace hadal {
namespace {

constexpr DecoderTraits kTraits = {.folder_class = "Qwen2ForCausalLM",
                                   .head_width_may_be_absent = true};

void layer(const LayerStep& s) {
  const DecoderLayer& w = s.weights;
  s.ops.rms_norm(
      {.in = s.x, .gain = w.attention_norm, .epsilon = s.config.norm_epsilon, .out = s.normed});
  s.ops.matmul({.in = s.normed,
                .projections = {{w.query, w.query_bias, s.query},
                                {w.key, w.key_bias, s.key},
                                {w.value, w.value_bias, s.value}}});
  attend(s);
  feed_forward(s);
}

Result<std::unique_ptr<ModelConfig>> read_config(const Metadata& metadata,
                                                 const TensorIndex& tensors) {
  ConfigFields fields(metadata, kQwen2.name);
  auto config = std::make_unique<DecoderConfig>();
  HADAL_TRY_VOID(read_decoder_config(fields, tensors, kTraits, *config));
  finish_config(fields, *config);
  return config;
}

Manifest manifest(const ModelConfig& config, const TensorIndex& present, Dialect dialect) {
  const auto& c = static_cast<const DecoderConfig&>(config);
  return decoder_manifest(c, present, dialect, kTraits,
                          {{Role::kQueryBias, c.heads * c.head_width},
                           {Role::kKeyBias, c.kv_heads * c.head_width},
                           {Role::kValueBias, c.kv_heads * c.head_width}});
}

Result<std::unique_ptr<Model>> build(const ModelConfig& config, const Weights& weights,
                                     const StepLimits& limits) {
  return build_decoder(static_cast<const DecoderConfig&>(config), weights, limits, layer);
}

uint64_t scratch_bytes(const ModelConfig& config, const StepLimits& limits) {
  return decoder_scratch_bytes(static_cast<const DecoderConfig&>(config), limits);
}

}  // namespace

const Architecture kQwen2 = {"qwen2", read_config, manifest, build, scratch_bytes};

}  // namespace hadal
