#include "model/decoder.h"

#include <cmath>
#include <vector>

#include "base/check.h"
#include "model/layer_walk.h"

namespace hadal {
namespace {

// A layer's attention is done before its feed-forward begins, so the two share their memory.
struct DecoderScratch {
  ScratchPlan plan;
  WalkScratch walk;
  ScratchPart normed, query, key, value, attended, gate, up;

  DecoderScratch(const DecoderConfig& c, const StepLimits& limits)
      : walk(c.width, false, limits, plan) {
    const uint32_t tokens = limits.tokens_max;
    normed = plan.take(tokens, c.width);
    const uint64_t shared = plan.mark();
    query = plan.take(tokens, c.heads * c.head_width);
    key = plan.take(tokens, c.kv_heads * c.head_width);
    value = plan.take(tokens, c.kv_heads * c.head_width);
    attended = plan.take(tokens, c.heads * c.head_width);
    plan.rewind(shared);
    gate = plan.take(tokens, c.feed_forward_width);
    up = plan.take(tokens, c.feed_forward_width);
  }
};

class DecoderLayers final : public Layers {
 public:
  DecoderLayers(const DecoderConfig& config, const Weights& weights, const StepLimits& limits,
                LayerFunction layer)
      : config_(config), scratch_(config, limits), layer_function_(layer) {
    for (uint32_t i = 0; i < config.layers; ++i) {
      const auto get = [&](Role role) { return weights.get(role, static_cast<int16_t>(i)); };
      layers_.push_back({.attention_norm = get(Role::kAttentionNorm),
                         .query = get(Role::kQuery),
                         .query_bias = get(Role::kQueryBias),
                         .key = get(Role::kKey),
                         .key_bias = get(Role::kKeyBias),
                         .value = get(Role::kValue),
                         .value_bias = get(Role::kValueBias),
                         .query_norm = get(Role::kQueryNorm),
                         .key_norm = get(Role::kKeyNorm),
                         .attention_output = get(Role::kAttentionOutput),
                         .feed_forward_norm = get(Role::kFeedForwardNorm),
                         .gate = get(Role::kGate),
                         .up = get(Role::kUp),
                         .down = get(Role::kDown)});
    }
  }

  void run(const LayerWork& work) const override {
    const auto part = [&](const ScratchPart& p) { return p.of(work.scratch, work.x.rows); };
    layer_function_({.config = config_,
                     .weights = layers_[work.layer],
                     .layout = work.layout,
                     .ops = work.ops,
                     .cache = work.cache,
                     .x = work.x,
                     .normed = part(scratch_.normed),
                     .query = part(scratch_.query),
                     .key = part(scratch_.key),
                     .value = part(scratch_.value),
                     .attended = part(scratch_.attended),
                     .gate = part(scratch_.gate),
                     .up = part(scratch_.up)});
  }

 private:
  DecoderConfig config_;
  DecoderScratch scratch_;
  LayerFunction layer_function_;
  std::vector<DecoderLayer> layers_;
};

}  // namespace

void attend(const LayerStep& s) {
  const DecoderConfig& c = s.config;
  for (const Tensor& rotated : {s.query, s.key}) {
    s.ops.rope({.x = rotated,
                .head_width = c.head_width,
                .pairs = c.rope_pairs,
                .positions = s.layout.positions,
                .frequencies = c.rope.frequencies,
                .magnitude = c.rope.magnitude});
  }
  s.ops.store_kv({.keys = s.key, .values = s.value, .cache = s.cache, .layout = s.layout});
  s.ops.attention({.query = s.query,
                   .cache = s.cache,
                   .layout = s.layout,
                   .heads = c.heads,
                   .kv_heads = c.kv_heads,
                   .scale = 1.0f / std::sqrt(static_cast<float>(c.head_width)),
                   .out = s.attended});
  s.ops.matmul({.in = s.attended,
                .projections = {{s.weights.attention_output, {}, s.x}},
                .store = Store::kAdd});
}

void feed_forward(const LayerStep& s) {
  const DecoderLayer& w = s.weights;
  s.ops.rms_norm(
      {.in = s.x, .gain = w.feed_forward_norm, .epsilon = s.config.norm_epsilon, .out = s.normed});
  s.ops.matmul({.in = s.normed, .projections = {{w.gate, {}, s.gate}, {w.up, {}, s.up}}});
  s.ops.swiglu({.gate = s.gate, .up = s.up, .out = s.gate});
  s.ops.matmul({.in = s.gate, .projections = {{w.down, {}, s.x}}, .store = Store::kAdd});
}

Result<std::unique_ptr<Model>> build_decoder(const DecoderConfig& config, const Weights& weights,
                                             const StepLimits& limits, LayerFunction layer) {
  return build_walk({.layers = config.layers,
                     .width = config.width,
                     .vocabulary = config.vocabulary,
                     .norm_epsilon = config.norm_epsilon,
                     .scratch_bytes = decoder_scratch_bytes(config, limits)},
                    weights, limits,
                    std::make_unique<DecoderLayers>(config, weights, limits, layer));
}

uint64_t decoder_scratch_bytes(const DecoderConfig& config, const StepLimits& limits) {
  return DecoderScratch(config, limits).plan.bytes();
}

}  // namespace hadal
