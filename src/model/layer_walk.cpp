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

 private:
  struct Scratch {
    Device* device;
    std::unique_ptr<Buffer> memory;
  };

  Buffer& scratch_of(const Device* device) const;
  // The residual, moved to `device` if it is elsewhere.
  Tensor residual_on(Device* device, const Tensor& x) const;
  void head(const Batch& batch, const Tensor& x, const Outputs& outputs) const;

  WalkOptions options_;
  StepLimits limits_;
  std::unique_ptr<const Layers> layers_;
  Weight embedding_, final_norm_, head_;
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
      parts_(options.width, limits, plan_) {
  CHECK(embedding_ && final_norm_ && head_ && final_norm_.device == head_.device);
  CHECK(layer_devices_.size() == options.layers && plan_.bytes() <= options.scratch_bytes);
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
  const auto tokens = static_cast<uint32_t>(batch.tokens.size());
  CHECK(tokens > 0 && tokens <= limits_.tokens_max);
  CHECK(batch.layout.positions.size() == tokens);
  CHECK(batch.logit_rows.size() <= limits_.logit_rows_max);

  Tensor x = parts_.x.of(scratch_of(embedding_.device), tokens);  // [tokens, width]
  embedding_.device->ops().embed({.table = embedding_, .tokens = batch.tokens, .out = x});
  if (outputs.tap) outputs.tap->on("embedding", x);

  for (uint32_t i = 0; i < options_.layers; ++i) {
    Device* device = layer_devices_[i];
    x = residual_on(device, x);
    layers_->run({.layer = i,
                  .ops = device->ops(),
                  .layout = batch.layout,
                  .cache = cache.layer(i),
                  .x = x,
                  .scratch = scratch_of(device)});
    if (outputs.tap) outputs.tap->on("layer." + std::to_string(i), x);
  }
  if (!batch.logit_rows.empty()) head(batch, x, outputs);
}

void Walk::head(const Batch& batch, const Tensor& x, const Outputs& outputs) const {
  const auto rows = static_cast<uint32_t>(batch.logit_rows.size());
  CHECK(outputs.logits.device == head_.device && outputs.logits.rows == rows &&
        outputs.logits.columns == options_.vocabulary);
  Tensor chosen = parts_.chosen.of(scratch_of(x.device), rows);  // [logit rows, width]
  x.device->ops().gather_rows({.from = x, .rows = batch.logit_rows, .to = chosen});
  if (x.device != head_.device) {
    const Tensor there = parts_.chosen.of(scratch_of(head_.device), rows);
    copy(chosen, there);
    chosen = there;
  }
  Ops& ops = head_.device->ops();
  ops.rms_norm(
      {.in = chosen, .gain = final_norm_, .epsilon = options_.norm_epsilon, .out = chosen});
  if (outputs.tap) outputs.tap->on("norm", chosen);
  ops.matmul({.in = chosen, .projections = {{head_, {}, outputs.logits}}});
  if (outputs.tap) outputs.tap->on("logits", outputs.logits);
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
