#include "engine/model_runner.h"

#include "base/check.h"
#include "base/sizes.h"

namespace hadal {

namespace {

constexpr uint64_t kAlignment = 64;  // what Buffer::tensor wants of offsets

uint64_t logit_bytes(const ModelConfig& config, const StepLimits& limits) {
  return uint64_t{limits.logit_rows_max} * config.vocabulary * sizeof(float);
}
uint64_t rows_bytes(uint32_t rows, uint32_t width) {
  return round_up(uint64_t{rows} * width * sizeof(float), kAlignment);
}
uint64_t hidden_bytes(const ModelConfig& config, const StepLimits& limits) {
  if (!config.predicts) return 0;
  return 2 * rows_bytes(limits.tokens_max, config.width) +
         rows_bytes(limits.logit_rows_max, config.width);
}

}  // namespace

uint64_t ModelRunner::bytes(const ModelConfig& config, const StepLimits& limits) {
  return 2 * logit_bytes(config, limits) + hidden_bytes(config, limits);
}

Result<std::unique_ptr<ModelRunner>> ModelRunner::make(
    Model& model, const ModelConfig& config, KvCache& cache,
    std::span<const std::unique_ptr<Device>> devices, const StepLimits& limits) {
  auto runner = std::unique_ptr<ModelRunner>(new ModelRunner(model, cache, devices));
  ModelRunner& r = *runner;
  Device& device = model.head_device();
  HADAL_TRY(r.logit_memory_, device.allocate(logit_bytes(config, limits)));
  r.logits_ = r.logit_memory_->tensor(QuantType::kF32, limits.logit_rows_max, config.vocabulary);
  r.host_.resize(size_t{limits.logit_rows_max} * config.vocabulary);
  if (!config.predicts) return runner;
  HADAL_TRY(r.hidden_memory_, device.allocate(hidden_bytes(config, limits)));
  const uint64_t step_bytes = rows_bytes(limits.tokens_max, config.width);
  const auto part = [&](uint32_t rows, uint64_t offset) {
    return r.hidden_memory_->tensor(QuantType::kF32, rows, config.width, offset);
  };
  r.hidden_ = part(limits.tokens_max, 0);
  r.gathered_ = part(limits.tokens_max, step_bytes);
  r.states_ = part(limits.logit_rows_max, 2 * step_bytes);
  return runner;
}

Result<std::span<const float>> ModelRunner::run(const Batch& batch) {
  const Tensor logits = logits_.first_rows(static_cast<uint32_t>(batch.logit_rows.size()));
  Outputs outputs = {.logits = logits};
  if (hidden_) outputs.hidden = hidden_.first_rows(static_cast<uint32_t>(batch.tokens.size()));
  model_.forward(batch, cache_, outputs);
  return read(logits);
}

Result<std::span<const float>> ModelRunner::draft(const Batch& batch,
                                                  std::span<const uint32_t> hidden_rows) {
  CHECK(hidden_ && hidden_rows.size() == batch.tokens.size());
  const auto rows = static_cast<uint32_t>(batch.logit_rows.size());
  const Tensor hidden = gathered_.first_rows(static_cast<uint32_t>(hidden_rows.size()));
  model_.head_device().ops().gather_rows({.from = hidden_, .rows = hidden_rows, .to = hidden});
  const Tensor logits = logits_.first_rows(rows);
  model_.draft(batch, hidden, cache_, {.logits = logits, .hidden = states_.first_rows(rows)});
  return read(logits);
}

Result<std::span<const float>> ModelRunner::draft_further(const Batch& batch, uint32_t state) {
  CHECK(hidden_ && batch.tokens.size() == 1 && batch.logit_rows.size() == 1);
  const Tensor logits = logits_.first_rows(1);
  const Tensor hidden = states_.row_range(state, 1);
  model_.draft(batch, hidden, cache_, {.logits = logits, .hidden = hidden});
  return read(logits);
}

Result<std::span<const float>> ModelRunner::read(const Tensor& logits) {
  if (logits.rows > 0) model_.head_device().read(logits, host_.data());
  for (const auto& device : devices_) HADAL_TRY_VOID(device->wait());
  return std::span<const float>(host_).first(size_t{logits.rows} * logits.columns);
}

}  // namespace hadal
