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
uint64_t hidden_bytes(const ModelConfig& config, const ModelRunnerOptions& options) {
  const uint64_t step = rows_bytes(options.limits.tokens_max, config.width);
  if (!config.predicts) return options.embeddings ? step : 0;
  return 2 * step + rows_bytes(options.limits.logit_rows_max, config.width);
}
uint64_t host_hidden_values(const ModelConfig& config, const ModelRunnerOptions& options) {
  return options.embeddings ? uint64_t{options.limits.tokens_max} * config.width : 0;
}

}  // namespace

uint64_t ModelRunner::bytes(const ModelConfig& config, const ModelRunnerOptions& options) {
  return 2 * logit_bytes(config, options.limits) + hidden_bytes(config, options) +
         host_hidden_values(config, options) * sizeof(float);
}

Result<std::unique_ptr<ModelRunner>> ModelRunner::make(
    Model& model, const ModelConfig& config, KvCache& cache,
    std::span<const std::unique_ptr<Device>> devices, const ModelRunnerOptions& options) {
  const StepLimits& limits = options.limits;
  auto runner = std::unique_ptr<ModelRunner>(new ModelRunner(model, cache, devices));
  ModelRunner& r = *runner;
  Device& device = model.head_device();
  HADAL_TRY(r.logit_memory_, device.allocate(logit_bytes(config, limits)));
  r.logits_ = r.logit_memory_->tensor(QuantType::kF32, limits.logit_rows_max, config.vocabulary);
  r.host_.resize(size_t{limits.logit_rows_max} * config.vocabulary);
  r.host_hidden_.resize(host_hidden_values(config, options));
  if (!config.predicts && !options.embeddings) return runner;
  HADAL_TRY(r.hidden_memory_, device.allocate(hidden_bytes(config, options)));
  const uint64_t step_bytes = rows_bytes(limits.tokens_max, config.width);
  const auto part = [&](uint32_t rows, uint64_t offset) {
    return r.hidden_memory_->tensor(QuantType::kF32, rows, config.width, offset);
  };
  r.hidden_ = part(limits.tokens_max, 0);
  if (!config.predicts) return runner;
  r.gathered_ = part(limits.tokens_max, step_bytes);
  r.states_ = part(limits.logit_rows_max, 2 * step_bytes);
  return runner;
}

// A prediction layer wants the hidden states of every step.
Result<std::span<const float>> ModelRunner::run(const Batch& batch) {
  return forward(batch, gathered_ ? hidden_ : Tensor());
}

Result<std::span<const float>> ModelRunner::run_with_hidden(const Batch& batch) {
  return forward(batch, hidden_);
}

Result<std::span<const float>> ModelRunner::hidden(uint32_t first, uint32_t count) {
  CHECK(hidden_ && size_t{count} * hidden_.columns <= host_hidden_.size());
  return read(hidden_.row_range(first, count), host_hidden_);
}

Result<std::span<const float>> ModelRunner::forward(const Batch& batch, const Tensor& hidden) {
  const Tensor logits = logits_.first_rows(static_cast<uint32_t>(batch.logit_rows.size()));
  Outputs outputs = {.logits = logits};
  if (hidden) outputs.hidden = hidden.first_rows(static_cast<uint32_t>(batch.tokens.size()));
  model_.forward(batch, cache_, outputs);
  return read(logits, host_);
}

Result<std::span<const float>> ModelRunner::draft(const Batch& batch,
                                                  std::span<const uint32_t> hidden_rows) {
  CHECK(gathered_ && hidden_rows.size() == batch.tokens.size());
  const auto rows = static_cast<uint32_t>(batch.logit_rows.size());
  const Tensor hidden = gathered_.first_rows(static_cast<uint32_t>(hidden_rows.size()));
  model_.head_device().ops().gather_rows({.from = hidden_, .rows = hidden_rows, .to = hidden});
  const Tensor logits = logits_.first_rows(rows);
  model_.draft(batch, hidden, cache_, {.logits = logits, .hidden = states_.first_rows(rows)});
  return read(logits, host_);
}

Result<std::span<const float>> ModelRunner::draft_further(const Batch& batch, uint32_t state) {
  CHECK(states_ && batch.tokens.size() == 1 && batch.logit_rows.size() == 1);
  const Tensor logits = logits_.first_rows(1);
  const Tensor hidden = states_.row_range(state, 1);
  model_.draft(batch, hidden, cache_, {.logits = logits, .hidden = hidden});
  return read(logits, host_);
}

Result<std::span<const float>> ModelRunner::read(const Tensor& from, std::vector<float>& to) {
  if (from.rows > 0) model_.head_device().read(from, to.data());
  for (const auto& device : devices_) HADAL_TRY_VOID(device->wait());
  return std::span<const float>(to).first(size_t{from.rows} * from.columns);
}

}  // namespace hadal
