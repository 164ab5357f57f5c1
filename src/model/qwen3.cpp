// Qwen 3, dense (arXiv 2505.09388): as Llama, with each head's query and key normed before they are
// rotated, and a head width that need not be width / heads.
#include "model/architectures.h"
#include "model/decoder.h"

namespace hadal {
namespace {

constexpr DecoderTraits kTraits = {.folder_class = "Qwen3ForCausalLM"};

// One gain of [head width] for all heads.
void norm_heads(const LayerStep& s, const Tensor& heads, const Weight& gain) {
  const uint32_t width = s.config.head_width;
  const Tensor rows = heads.reshaped(heads.rows * (heads.columns / width), width);
  s.ops.rms_norm({.in = rows, .gain = gain, .epsilon = s.config.norm_epsilon, .out = rows});
}

void layer(const LayerStep& s) {
  const DecoderLayer& w = s.weights;
  s.ops.rms_norm(
      {.in = s.x, .gain = w.attention_norm, .epsilon = s.config.norm_epsilon, .out = s.normed});
  s.ops.matmul(
      {.in = s.normed,
       .projections = {{w.query, {}, s.query}, {w.key, {}, s.key}, {w.value, {}, s.value}}});
  norm_heads(s, s.query, w.query_norm);
  norm_heads(s, s.key, w.key_norm);
  attend(s);
  feed_forward(s);
}

Result<std::unique_ptr<ModelConfig>> read_config(const Metadata& metadata,
                                                 const TensorIndex& tensors) {
  ConfigFields fields(metadata, kQwen3.name);
  auto config = std::make_unique<DecoderConfig>();
  HADAL_TRY_VOID(read_decoder_config(fields, tensors, kTraits, *config));
  finish_config(fields, *config);
  return config;
}

Manifest manifest(const ModelConfig& config, const TensorIndex& present, Dialect dialect) {
  const auto& c = static_cast<const DecoderConfig&>(config);
  return decoder_manifest(c, present, dialect, kTraits,
                          {{Role::kQueryNorm, c.head_width}, {Role::kKeyNorm, c.head_width}});
}

Result<std::unique_ptr<Model>> build(const ModelConfig& config, const Weights& weights,
                                     const StepLimits& limits) {
  return build_decoder(static_cast<const DecoderConfig&>(config), weights, limits, layer);
}

uint64_t scratch_bytes(const ModelConfig& config, const StepLimits& limits) {
  return decoder_scratch_bytes(static_cast<const DecoderConfig&>(config), limits);
}

}  // namespace

const Architecture kQwen3 = {"qwen3", read_config, manifest, build, scratch_bytes};

}  // namespace hadal
