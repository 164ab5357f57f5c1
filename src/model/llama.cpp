// Llama (arXiv 2302.13971, 2407.21783): pre-norm, rotary positions, grouped queries, SwiGLU, no
// biases. A GGUF holds the rows of q and k in another order than a folder, so that neighbouring
// values form a pair, and the long-context scaling of Llama 3.1 as divisors of the frequencies.
#include "model/architectures.h"
#include "model/decoder.h"

namespace hadal {
namespace {

constexpr DecoderTraits kTraits = {.folder_class = "LlamaForCausalLM",
                                   .gguf_pairs = RopePairs::kInterleaved,
                                   .rope_factors = true,
                                   .kv_heads_may_be_absent = true,
                                   .head_width_may_be_absent = true};

void layer(const LayerStep& s) {
  const DecoderLayer& w = s.weights;
  s.ops.rms_norm(
      {.in = s.x, .gain = w.attention_norm, .epsilon = s.config.norm_epsilon, .out = s.normed});
  s.ops.matmul(
      {.in = s.normed,
       .projections = {{w.query, {}, s.query}, {w.key, {}, s.key}, {w.value, {}, s.value}}});
  attend(s);
  feed_forward(s);
}

Result<std::unique_ptr<ModelConfig>> read_config(const Metadata& metadata,
                                                 const TensorIndex& tensors) {
  ConfigFields fields(metadata, kLlama.name);
  auto config = std::make_unique<DecoderConfig>();
  HADAL_TRY_VOID(read_decoder_config(fields, tensors, kTraits, *config));
  finish_config(fields, *config);
  return config;
}

Manifest manifest(const ModelConfig& config, const TensorIndex& present, Dialect dialect) {
  return decoder_manifest(static_cast<const DecoderConfig&>(config), present, dialect, kTraits, {});
}

Result<std::unique_ptr<Model>> build(const ModelConfig& config, const Weights& weights,
                                     const StepLimits& limits) {
  return build_decoder(static_cast<const DecoderConfig&>(config), weights, limits, layer);
}

uint64_t scratch_bytes(const ModelConfig& config, const StepLimits& limits) {
  return decoder_scratch_bytes(static_cast<const DecoderConfig&>(config), limits);
}

}  // namespace

const Architecture kLlama = {"llama", read_config, manifest, build, scratch_bytes};

}  // namespace hadal
