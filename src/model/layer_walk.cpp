#include "model/layer_walk.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/sizes.h"

namespace hadal {
namespace {

constexpr uint64_t kAlignment = 64;  // what Buffer::tensor wants of offsets

class Walk final : public Model {
 public:
  Walk(const WalkOptions& options, const Weights& weights, const StepLimits& limits,
       std::unique_ptr<const Layers> layers);
  Status allocate_scratch();

  Device& head_device() const override { return *head_.device; }
  void forward(const Batch& batch, KvCache& cache, const Outputs& outputs) override;
  void draft(const Batch& batch, const Tensor& hidden, KvCache& cache,
             const Outputs& outputs) override;

 private:
  struct Scratch {
    Device* device;
    std::unique_ptr<Buffer> memory;
  };

  Buffer& scratch_of(const Device* device) const;
  // The residual, moved to `device` if it is elsewhere.
  Tensor residual_on(Device* device, const Tensor& x) const;
  void check_batch(const Batch& batch) const;
  void run_layer(uint32_t layer, const Batch& batch, const Tensor& x, KvCache& cache) const;
  Tensor prediction_input(const Batch& batch, const Tensor& hidden) const;
  // [logit rows, width] of x, on the head's device.
  Tensor choose_rows(const Batch& batch, const Tensor& x) const;
  void norm(const Tensor& in, const Weight& gain, const Tensor& out) const;
  void head(const Batch& batch, const Tensor& normed, const Outputs& outputs) const;

  WalkOptions options_;
  StepLimits limits_;
  std::unique_ptr<const Layers> layers_;
  Weight embedding_, final_norm_, head_;
  Weight prediction_embedding_norm_, prediction_hidden_norm_, prediction_input_, prediction_norm_;
  std::vector<Device*> layer_devices_;
  ScratchPlan plan_;
  WalkScratch parts_;
  std::vector<Scratch> scratch_;  // one a device
};

Walk::Walk(const WalkOptions& options, const Weights& weights, const StepLimits& limits,
           std::unique_ptr<const Layers> layers)
    : options_(options),
      limits_(limits),
      layers_(std::move(layers)),
      embedding_(weights.get(Role::kEmbedding)),
      final_norm_(weights.get(Role::kFinalNorm)),
      head_(weights.get(Role::kHead)),
      layer_devices_(weights.layer_devices().begin(), weights.layer_devices().end()),
      parts_(options.width, options.predicts, limits, plan_) {
  CHECK(embedding_ && final_norm_ && head_ && final_norm_.device == head_.device);
  CHECK(layer_devices_.size() == options.layers + options.predicts);
  CHECK(plan_.bytes() <= options.scratch_bytes);
  if (!options.predicts) return;
  const auto get = [&](Role role) {
    return weights.get(role, static_cast<int16_t>(options.layers));
  };
  prediction_embedding_norm_ = get(Role::kPredictionEmbeddingNorm);
  prediction_hidden_norm_ = get(Role::kPredictionHiddenNorm);
  prediction_input_ = get(Role::kPredictionInput);
  prediction_norm_ = get(Role::kPredictionNorm);
  CHECK(prediction_embedding_norm_ && prediction_hidden_norm_ && prediction_input_);
  CHECK(prediction_norm_ && layer_devices_.back() == head_.device);
}

Status Walk::allocate_scratch() {
  std::vector<Device*> devices = {embedding_.device};
  devices.insert(devices.end(), layer_devices_.begin(), layer_devices_.end());
  devices.push_back(head_.device);
  for (Device* device : devices) {
    const auto same = [device](const Scratch& scratch) { return scratch.device == device; };
    if (std::any_of(scratch_.begin(), scratch_.end(), same)) continue;
    auto memory = device->allocate(options_.scratch_bytes);
    if (!memory) {
      return fail("scratch for steps of {} tokens: {}", limits_.tokens_max, memory.error().message);
    }
    scratch_.push_back({device, std::move(*memory)});
  }
  return {};
}

void Walk::forward(const Batch& batch, KvCache& cache, const Outputs& outputs) {
  check_batch(batch);
  const auto tokens = static_cast<uint32_t>(batch.tokens.size());
  Tensor x = parts_.x.of(scratch_of(embedding_.device), tokens);  // [tokens, width]
  embedding_.device->ops().embed({.table = embedding_, .tokens = batch.tokens, .out = x});
  if (outputs.tap) outputs.tap->on("embedding", x);

  for (uint32_t i = 0; i < options_.layers; ++i) {
    x = residual_on(layer_devices_[i], x);
    run_layer(i, batch, x, cache);
    if (outputs.tap) outputs.tap->on("layer." + std::to_string(i), x);
  }
  if (outputs.hidden) {
    CHECK(outputs.hidden.rows == tokens && outputs.hidden.columns == options_.width);
    norm(residual_on(head_.device, x), final_norm_, outputs.hidden);
  }
  if (batch.logit_rows.empty()) return;
  const Tensor chosen = choose_rows(batch, outputs.hidden ? outputs.hidden : x);
  if (!outputs.hidden) norm(chosen, final_norm_, chosen);
  if (outputs.tap) outputs.tap->on("norm", chosen);
  head(batch, chosen, outputs);
  if (outputs.tap) outputs.tap->on("logits", outputs.logits);
}

void Walk::draft(const Batch& batch, const Tensor& hidden, KvCache& cache, const Outputs& outputs) {
  CHECK(options_.predicts);
  check_batch(batch);
  const Tensor x = prediction_input(batch, hidden);
  if (outputs.tap) outputs.tap->on("draft.input", x);
  run_layer(options_.layers, batch, x, cache);
  if (outputs.tap) outputs.tap->on("draft.layer", x);
  if (batch.logit_rows.empty()) return;
  const Tensor chosen = choose_rows(batch, x);
  norm(chosen, prediction_norm_, chosen);
  if (outputs.tap) outputs.tap->on("draft.norm", chosen);
  if (outputs.hidden) head_.device->copy(chosen, outputs.hidden);
  head(batch, chosen, outputs);
  if (outputs.tap) outputs.tap->on("draft.logits", outputs.logits);
}

void Walk::check_batch(const Batch& batch) const {
  CHECK(!batch.tokens.empty() && batch.tokens.size() <= limits_.tokens_max);
  CHECK(batch.layout.positions.size() == batch.tokens.size());
  CHECK(batch.logit_rows.size() <= limits_.logit_rows_max);
}

void Walk::run_layer(uint32_t layer, const Batch& batch, const Tensor& x, KvCache& cache) const {
  layers_->run({.layer = layer,
                .ops = x.device->ops(),
                .layout = batch.layout,
                .cache = cache.layer(layer),
                .x = x,
                .scratch = scratch_of(x.device)});
}

// x = M [norm(embedding(next)); norm(hidden)], on the head's device, where the layer is too.
Tensor Walk::prediction_input(const Batch& batch, const Tensor& hidden) const {
  const auto tokens = static_cast<uint32_t>(batch.tokens.size());
  CHECK(hidden.device == head_.device && hidden.rows == tokens && hidden.columns == options_.width);
  Tensor x = parts_.x.of(scratch_of(embedding_.device), tokens);
  embedding_.device->ops().embed({.table = embedding_, .tokens = batch.tokens, .out = x});
  x = residual_on(head_.device, x);
  const Tensor joined = parts_.joined.of(scratch_of(head_.device), tokens);  // [tokens, 2 * width]
  norm(x, prediction_embedding_norm_, joined.column_range(0, options_.width));
  norm(hidden, prediction_hidden_norm_, joined.column_range(options_.width, options_.width));
  head_.device->ops().matmul({.in = joined, .projections = {{prediction_input_, {}, x}}});
  return x;
}

Tensor Walk::choose_rows(const Batch& batch, const Tensor& x) const {
  const auto rows = static_cast<uint32_t>(batch.logit_rows.size());
  const Tensor chosen = parts_.chosen.of(scratch_of(x.device), rows);
  x.device->ops().gather_rows({.from = x, .rows = batch.logit_rows, .to = chosen});
  if (x.device == head_.device) return chosen;
  const Tensor there = parts_.chosen.of(scratch_of(head_.device), rows);
  copy(chosen, there);
  return there;
}

void Walk::norm(const Tensor& in, const Weight& gain, const Tensor& out) const {
  in.device->ops().rms_norm({.in = in, .gain = gain, .epsilon = options_.norm_epsilon, .out = out});
}

void Walk::head(const Batch& batch, const Tensor& normed, const Outputs& outputs) const {
  CHECK(outputs.logits.device == head_.device && outputs.logits.rows == batch.logit_rows.size() &&
        outputs.logits.columns == options_.vocabulary);
  head_.device->ops().matmul({.in = normed, .projections = {{head_, {}, outputs.logits}}});
}

Buffer& Walk::scratch_of(const Device* device) const {
  const auto found =
      std::find_if(scratch_.begin(), scratch_.end(),
                   [device](const Scratch& scratch) { return scratch.device == device; });
  CHECK(found != scratch_.end());
  return *found->memory;
}

Tensor Walk::residual_on(Device* device, const Tensor& x) const {
  if (x.device == device) return x;
  const Tensor there = parts_.x.of(scratch_of(device), x.rows);
  copy(x, there);
  return there;
}

}  // namespace

ScratchPart ScratchPlan::take(uint32_t rows, uint32_t columns, QuantType type) {
  const ScratchPart part{end_, rows, columns, type};
  end_ += round_up(uint64_t{rows} * row_bytes(type, columns), kAlignment);
  bytes_ = std::max(bytes_, end_);
  return part;
}

Result<std::unique_ptr<Model>> build_walk(const WalkOptions& options, const Weights& weights,
                                          const StepLimits& limits,
                                          std::unique_ptr<const Layers> layers) {
  auto walk = std::make_unique<Walk>(options, weights, limits, std::move(layers));
  HADAL_TRY_VOID(walk->allocate_scratch());
  return walk;
}

}  // namespace hadal
