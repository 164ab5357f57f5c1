#include "model/latent_decoder.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "model/latent_config.h"
#include "model/layer_walk.h"

namespace hadal {
namespace {

// Of the norms of latents: DeepSeek's code gives them no epsilon of the configuration's.
constexpr float kLatentNormEpsilon = 1e-6f;

struct LatentLayer {
  Weight attention_norm;
  Weight query;                                  // either at once,
  Weight query_down, query_down_norm, query_up;  // or by a latent
  Weight latent_down, latent_norm;
  HeadMatrices keys, values;  // from the latent
  Weight attention_output;
  Weight feed_forward_norm;
  Weight gate, up, down;  // of a dense layer, or of the experts that every token goes to; or none
  Weight router, router_bias, expert_gate, expert_up, expert_down;  // none in a dense layer
};

// A layer's attention is done before its feed-forward begins, so the two share their memory.
struct LatentScratch {
  ScratchPlan plan;
  WalkScratch walk;
  ScratchPart normed, query_latent, query, latent, attended;
  ScratchPart scores, chosen, weights, gate, up;

  LatentScratch(const LatentConfig& c, const StepLimits& limits)
      : walk(c.width, c.predicts, limits, plan) {
    const uint32_t tokens = limits.tokens_max;
    normed = plan.take(tokens, c.width);
    const uint64_t shared = plan.mark();
    query_latent = plan.take(tokens, c.query_latent);
    query = plan.take(tokens, c.heads * c.query_width());
    latent = plan.take(tokens, c.latent + c.rope_width);
    attended = plan.take(tokens, c.heads * c.value_width);
    plan.rewind(shared);
    scores = plan.take(tokens, c.experts);
    chosen = plan.take(tokens, c.experts_per_token, QuantType::kI32);
    weights = plan.take(tokens, c.experts_per_token);
    const uint32_t inner = std::max(c.feed_forward_width, c.shared_width);
    gate = plan.take(tokens, inner);
    up = plan.take(tokens, inner);
  }
};

class LatentLayers final : public Layers {
 public:
  LatentLayers(const LatentConfig& config, const Weights& weights, const StepLimits& limits);
  void run(const LayerWork& s) const override;

 private:
  LatentLayer layer_of(const Weights& weights, int16_t layer) const;
  void attend(const LayerWork& s, const LatentLayer& w) const;
  void project(const LayerWork& s, const LatentLayer& w, const Tensor& query,
               const Tensor& latent) const;
  void choose_experts(const LayerWork& s, const LatentLayer& w, const Tensor& normed) const;
  void feed_forward(const LayerWork& s, const LatentLayer& w, const Tensor& normed) const;
  Tensor part(const LayerWork& s, const ScratchPart& p) const { return p.of(s.scratch, s.x.rows); }

  LatentConfig config_;
  LatentScratch scratch_;
  std::vector<LatentLayer> layers_;
};

LatentLayers::LatentLayers(const LatentConfig& config, const Weights& weights,
                           const StepLimits& limits)
    : config_(config), scratch_(config, limits) {
  for (uint32_t i = 0; i < config.cached_layers(); ++i) {
    layers_.push_back(layer_of(weights, static_cast<int16_t>(i)));
  }
}

LatentLayer LatentLayers::layer_of(const Weights& weights, int16_t layer) const {
  const LatentConfig& c = config_;
  const auto get = [&](Role role) { return weights.get(role, layer); };
  const bool mixed = c.has_experts(static_cast<uint32_t>(layer));
  LatentLayer w = {.attention_norm = get(Role::kAttentionNorm),
                   .query = get(Role::kQuery),
                   .query_down = get(Role::kQueryDown),
                   .query_down_norm = get(Role::kQueryDownNorm),
                   .query_up = get(Role::kQueryUp),
                   .latent_down = get(Role::kLatentDown),
                   .latent_norm = get(Role::kLatentNorm),
                   .keys = {},
                   .values = {},
                   .attention_output = get(Role::kAttentionOutput),
                   .feed_forward_norm = get(Role::kFeedForwardNorm),
                   .gate = get(mixed ? Role::kSharedGate : Role::kGate),
                   .up = get(mixed ? Role::kSharedUp : Role::kUp),
                   .down = get(mixed ? Role::kSharedDown : Role::kDown),
                   .router = get(Role::kRouter),
                   .router_bias = get(Role::kRouterBias),
                   .expert_gate = get(Role::kExpertGate),
                   .expert_up = get(Role::kExpertUp),
                   .expert_down = get(Role::kExpertDown)};
  if (const Weight fused = get(Role::kKeyValueUp); fused) {  // a head's keys, then its values
    const uint32_t step = c.nope + c.value_width;
    w.keys = {.weight = fused, .first_row = 0, .rows = c.nope, .row_step = step};
    w.values = {.weight = fused, .first_row = c.nope, .rows = c.value_width, .row_step = step};
  } else {
    w.keys = {.weight = get(Role::kKeyUp),
              .first_row = 0,
              .rows = c.latent,
              .row_step = c.latent,
              .transposed = true};
    w.values = {.weight = get(Role::kValueUp),
                .first_row = 0,
                .rows = c.value_width,
                .row_step = c.value_width};
  }
  return w;
}

void LatentLayers::run(const LayerWork& s) const {
  const LatentLayer& w = layers_[s.layer];
  attend(s, w);
  const Tensor normed = part(s, scratch_.normed);
  s.ops.rms_norm(
      {.in = s.x, .gain = w.feed_forward_norm, .epsilon = config_.norm_epsilon, .out = normed});
  if (w.router) choose_experts(s, w, normed);
  if (w.gate) feed_forward(s, w, normed);
}

// x += output(attention(norm(x)))
void LatentLayers::attend(const LayerWork& s, const LatentLayer& w) const {
  const LatentConfig& c = config_;
  const Tensor query = part(s, scratch_.query);    // [tokens, heads * (nope + rope)]
  const Tensor latent = part(s, scratch_.latent);  // [tokens, latent + rope]
  const Tensor attended = part(s, scratch_.attended);
  project(s, w, query, latent);

  const Tensor compressed = latent.column_range(0, c.latent);
  s.ops.rms_norm(
      {.in = compressed, .gain = w.latent_norm, .epsilon = kLatentNormEpsilon, .out = compressed});
  const RopeArgs rope = {.x = query,
                         .head_width = c.query_width(),
                         .pairs = c.rope_pairs,
                         .positions = s.layout.positions,
                         .frequencies = c.rope.frequencies,
                         .magnitude = c.rope.magnitude,
                         .first = c.nope};
  RopeArgs shared_key = rope;
  shared_key.x = latent.column_range(c.latent, c.rope_width);
  shared_key.head_width = c.rope_width;
  shared_key.first = 0;
  s.ops.rope(rope);
  s.ops.rope(shared_key);

  s.ops.store_kv({.keys = latent, .values = {}, .cache = s.cache, .layout = s.layout});
  s.ops.latent_attention({.query = query,
                          .cache = s.cache,
                          .layout = s.layout,
                          .keys = w.keys,
                          .values = w.values,
                          .heads = c.heads,
                          .scale = c.scale,
                          .out = attended});
  s.ops.matmul(
      {.in = attended, .projections = {{w.attention_output, {}, s.x}}, .store = Store::kAdd});
}

// Queries, at once or by a latent of their own, and the latent of keys and values with the key part
// that all heads share.
void LatentLayers::project(const LayerWork& s, const LatentLayer& w, const Tensor& query,
                           const Tensor& latent) const {
  const Tensor normed = part(s, scratch_.normed);
  s.ops.rms_norm(
      {.in = s.x, .gain = w.attention_norm, .epsilon = config_.norm_epsilon, .out = normed});
  if (w.query) {
    s.ops.matmul(
        {.in = normed, .projections = {{w.query, {}, query}, {w.latent_down, {}, latent}}});
    return;
  }
  const Tensor query_latent = part(s, scratch_.query_latent);
  s.ops.matmul({.in = normed,
                .projections = {{w.query_down, {}, query_latent}, {w.latent_down, {}, latent}}});
  s.ops.rms_norm({.in = query_latent,
                  .gain = w.query_down_norm,
                  .epsilon = kLatentNormEpsilon,
                  .out = query_latent});
  s.ops.matmul({.in = query_latent, .projections = {{w.query_up, {}, query}}});
}

// x += sum over the chosen experts of weight * expert(normed)
void LatentLayers::choose_experts(const LayerWork& s, const LatentLayer& w,
                                  const Tensor& normed) const {
  const Tensor scores = part(s, scratch_.scores);    // [tokens, experts]
  const Tensor chosen = part(s, scratch_.chosen);    // [tokens, experts per token]
  const Tensor weights = part(s, scratch_.weights);  // [tokens, experts per token]
  const Routing& routing = config_.routing;
  s.ops.matmul({.in = normed, .projections = {{w.router, {}, scores}}});
  s.ops.route({.logits = scores,
               .bias = w.router_bias,
               .scores = routing.scores,
               .group_value = routing.group_value,
               .normalise = routing.normalise,
               .groups = routing.groups,
               .groups_kept = routing.groups_kept,
               .scaling = routing.scaling,
               .chosen = chosen,
               .weights = weights});
  s.ops.experts({.in = normed,
                 .chosen = chosen,
                 .weights = weights,
                 .gate = w.expert_gate,
                 .up = w.expert_up,
                 .down = w.expert_down,
                 .out = s.x});
}

// x += down(silu(gate(normed)) * up(normed)): a dense layer, or the experts every token goes to.
void LatentLayers::feed_forward(const LayerWork& s, const LatentLayer& w,
                                const Tensor& normed) const {
  const auto inner = [&](ScratchPart p) {
    p.columns = w.gate.rows;
    return part(s, p);
  };
  const Tensor gate = inner(scratch_.gate), up = inner(scratch_.up);
  s.ops.matmul({.in = normed, .projections = {{w.gate, {}, gate}, {w.up, {}, up}}});
  s.ops.swiglu({.gate = gate, .up = up, .out = gate});
  s.ops.matmul({.in = gate, .projections = {{w.down, {}, s.x}}, .store = Store::kAdd});
}

}  // namespace

Result<std::unique_ptr<Model>> build_latent_decoder(const ModelConfig& config,
                                                    const Weights& weights,
                                                    const StepLimits& limits) {
  const auto& c = static_cast<const LatentConfig&>(config);
  return build_walk({.layers = c.layers,
                     .width = c.width,
                     .vocabulary = c.vocabulary,
                     .predicts = c.predicts,
                     .norm_epsilon = c.norm_epsilon,
                     .scratch_bytes = latent_decoder_scratch_bytes(config, limits)},
                    weights, limits, std::make_unique<LatentLayers>(c, weights, limits));
}

uint64_t latent_decoder_scratch_bytes(const ModelConfig& config, const StepLimits& limits) {
  return LatentScratch(static_cast<const LatentConfig&>(config), limits).plan.bytes();
}

}  // namespace hadal
