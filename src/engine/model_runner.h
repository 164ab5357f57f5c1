// Steps on a real model: forward, or the prediction layer, then the logits brought to the host.
// Engine thread; the model, the cache and the devices outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "engine/predictor.h"
#include "engine/request_loop.h"
#include "model/model.h"

namespace hadal {

class ModelRunner : public StepRunner, public DraftRunner {
 public:
  static Result<std::unique_ptr<ModelRunner>> make(Model& model, const ModelConfig& config,
                                                   KvCache& cache,
                                                   std::span<const std::unique_ptr<Device>> devices,
                                                   const StepLimits& limits);
  // What make() takes on the head's device and on the host, in bytes.
  static uint64_t bytes(const ModelConfig& config, const StepLimits& limits);

  Result<std::span<const float>> run(const Batch& batch) override;
  // Where the config says `predicts`.
  Result<std::span<const float>> draft(const Batch& batch,
                                       std::span<const uint32_t> hidden_rows) override;
  Result<std::span<const float>> draft_further(const Batch& batch, uint32_t state) override;

 private:
  ModelRunner(Model& model, KvCache& cache, std::span<const std::unique_ptr<Device>> devices)
      : model_(model), cache_(cache), devices_(devices) {}
  Result<std::span<const float>> read(const Tensor& logits);

  Model& model_;
  KvCache& cache_;
  std::span<const std::unique_ptr<Device>> devices_;
  std::unique_ptr<Buffer> logit_memory_, hidden_memory_;  // on the head's device
  Tensor logits_;                                         // [logit_rows_max, vocabulary]
  std::vector<float> host_;
  // None without a prediction layer.
  Tensor hidden_;    // [tokens_max, width] of the last step
  Tensor gathered_;  // [tokens_max, width] of them, what a draft begins from
  Tensor states_;    // [logit_rows_max, width] what drafts go on from
};

}  // namespace hadal
