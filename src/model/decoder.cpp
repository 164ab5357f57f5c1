#include "model/decoder.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/sizes.h"

namespace hadal {
namespace {

constexpr uint64_t kAlignment = 64;  // what Buffer::tensor wants of offsets

struct ScratchPart {
  uint64_t offset;
  uint32_t rows, columns;
};

// Where in a device's scratch each tensor lies. A layer's attention is done before its feed-forward
// begins, so the two share their memory.
struct ScratchLayout {
  ScratchPart x, normed, chosen, query, key, value, attended, gate, up;
  uint64_t bytes = 0;

  ScratchLayout(const DecoderConfig& c, const StepLimits& limits) {
    uint64_t end = 0;
    const auto take = [&](uint32_t rows, uint32_t columns) {
      const ScratchPart part{end, rows, columns};
      end += round_up(uint64_t{rows} * columns * sizeof(float), kAlignment);
      return part;
    };
    x = take(limits.tokens_max, c.width);
    normed = take(limits.tokens_max, c.width);
    chosen = take(limits.logit_rows_max, c.width);
    const uint64_t shared = end;
    query = take(limits.tokens_max, c.heads * c.head_width);
    key = take(limits.tokens_max, c.kv_heads * c.head_width);
    value = take(limits.tokens_max, c.kv_heads * c.head_width);
    attended = take(limits.tokens_max, c.heads * c.head_width);
    bytes = std::exchange(end, shared);
    gate = take(limits.tokens_max, c.feed_forward_width);
    up = take(limits.tokens_max, c.feed_forward_width);
    bytes = std::max(bytes, end);
  }
};

class Decoder final : public Model {
 public:
  Decoder(const DecoderConfig& config, const Weights& weights, const StepLimits& limits,
          LayerFunction layer);
  Status allocate_scratch();

  Device& head_device() const override { return *head_.device; }
  void forward(const Batch& batch, KvCache& cache, const Outputs& outputs) override;

 private:
  struct Scratch {
    Device* device;
    std::unique_ptr<Buffer> memory;
    Tensor part(const ScratchPart& part, uint32_t rows) const {
      return memory->tensor(QuantType::kF32, part.rows, part.columns, part.offset).first_rows(rows);
    }
  };
  struct Layer {
    Device* device;
    DecoderLayer weights;
  };

  const Scratch& scratch_of(const Device* device) const;
  // The residual, moved to `device` if it is elsewhere.
  Tensor residual_on(Device* device, const Tensor& x) const;
  LayerStep step_of(const Layer& layer, const Batch& batch, const PagedKv& cache,
                    const Tensor& x) const;
  void head(const Batch& batch, const Tensor& x, const Outputs& outputs) const;

  DecoderConfig config_;
  StepLimits limits_;
  LayerFunction layer_function_;
  Weight embedding_, final_norm_, head_;
  std::vector<Layer> layers_;
  ScratchLayout layout_;
  std::vector<Scratch> scratch_;  // one a device
};

Decoder::Decoder(const DecoderConfig& config, const Weights& weights, const StepLimits& limits,
                 LayerFunction layer)
    : config_(config),
      limits_(limits),
      layer_function_(layer),
      embedding_(weights.get(Role::kEmbedding)),
      final_norm_(weights.get(Role::kFinalNorm)),
      head_(weights.get(Role::kHead)),
      layout_(config, limits) {
  CHECK(embedding_ && final_norm_ && head_ && final_norm_.device == head_.device);
  CHECK(weights.layer_devices().size() == config.layers);
  for (uint32_t i = 0; i < config.layers; ++i) {
    const auto get = [&](Role role) { return weights.get(role, static_cast<int16_t>(i)); };
    layers_.push_back({.device = &weights.layer_device(i),
                       .weights = {.attention_norm = get(Role::kAttentionNorm),
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
                                   .down = get(Role::kDown)}});
  }
}

Status Decoder::allocate_scratch() {
  std::vector<Device*> devices = {embedding_.device};
  for (const Layer& layer : layers_) devices.push_back(layer.device);
  devices.push_back(head_.device);
  for (Device* device : devices) {
    const auto same = [device](const Scratch& scratch) { return scratch.device == device; };
    if (std::any_of(scratch_.begin(), scratch_.end(), same)) continue;
    auto memory = device->allocate(layout_.bytes);
    if (!memory) {
      return fail("scratch for steps of {} tokens: {}", limits_.tokens_max, memory.error().message);
    }
    scratch_.push_back({device, std::move(*memory)});
  }
  return {};
}

void Decoder::forward(const Batch& batch, KvCache& cache, const Outputs& outputs) {
  const auto tokens = static_cast<uint32_t>(batch.tokens.size());
  CHECK(tokens > 0 && tokens <= limits_.tokens_max);
  CHECK(batch.layout.positions.size() == tokens);
  CHECK(batch.logit_rows.size() <= limits_.logit_rows_max);

  Tensor x = scratch_of(embedding_.device).part(layout_.x, tokens);  // [tokens, width]
  embedding_.device->ops().embed({.table = embedding_, .tokens = batch.tokens, .out = x});
  if (outputs.tap) outputs.tap->on("embedding", x);

  for (uint32_t i = 0; i < config_.layers; ++i) {
    x = residual_on(layers_[i].device, x);
    layer_function_(step_of(layers_[i], batch, cache.layer(i), x));
    if (outputs.tap) outputs.tap->on("layer." + std::to_string(i), x);
  }
  if (!batch.logit_rows.empty()) head(batch, x, outputs);
}

void Decoder::head(const Batch& batch, const Tensor& x, const Outputs& outputs) const {
  const auto rows = static_cast<uint32_t>(batch.logit_rows.size());
  CHECK(outputs.logits.device == head_.device && outputs.logits.rows == rows &&
        outputs.logits.columns == config_.vocabulary);
  Tensor chosen = scratch_of(x.device).part(layout_.chosen, rows);  // [logit rows, width]
  x.device->ops().gather_rows({.from = x, .rows = batch.logit_rows, .to = chosen});
  if (x.device != head_.device) {
    const Tensor there = scratch_of(head_.device).part(layout_.chosen, rows);
    copy(chosen, there);
    chosen = there;
  }
  Ops& ops = head_.device->ops();
  ops.rms_norm({.in = chosen, .gain = final_norm_, .epsilon = config_.norm_epsilon, .out = chosen});
  if (outputs.tap) outputs.tap->on("norm", chosen);
  ops.matmul({.in = chosen, .projections = {{head_, {}, outputs.logits}}});
  if (outputs.tap) outputs.tap->on("logits", outputs.logits);
}

const Decoder::Scratch& Decoder::scratch_of(const Device* device) const {
  const auto found =
      std::find_if(scratch_.begin(), scratch_.end(),
                   [device](const Scratch& scratch) { return scratch.device == device; });
  CHECK(found != scratch_.end());
  return *found;
}

Tensor Decoder::residual_on(Device* device, const Tensor& x) const {
  if (x.device == device) return x;
  const Tensor there = scratch_of(device).part(layout_.x, x.rows);
  copy(x, there);
  return there;
}

LayerStep Decoder::step_of(const Layer& layer, const Batch& batch, const PagedKv& cache,
                           const Tensor& x) const {
  const Scratch& scratch = scratch_of(layer.device);
  return {.config = config_,
          .weights = layer.weights,
          .layout = batch.layout,
          .ops = layer.device->ops(),
          .cache = cache,
          .x = x,
          .normed = scratch.part(layout_.normed, x.rows),
          .query = scratch.part(layout_.query, x.rows),
          .key = scratch.part(layout_.key, x.rows),
          .value = scratch.part(layout_.value, x.rows),
          .attended = scratch.part(layout_.attended, x.rows),
          .gate = scratch.part(layout_.gate, x.rows),
          .up = scratch.part(layout_.up, x.rows)};
}

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
  auto decoder = std::make_unique<Decoder>(config, weights, limits, layer);
  HADAL_TRY_VOID(decoder->allocate_scratch());
  return decoder;
}

uint64_t decoder_scratch_bytes(const DecoderConfig& config, const StepLimits& limits) {
  return ScratchLayout(config, limits).bytes;
}

}  // namespace hadal
