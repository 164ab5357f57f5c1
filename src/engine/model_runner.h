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

struct ModelRunnerOptions {
  StepLimits limits;
  bool embeddings = false;  // run_with_hidden() and hidden() are wanted
};

class ModelRunner : public StepRunner, public DraftRunner {
 public:
  static Result<std::unique_ptr<ModelRunner>> make(Model& model, const ModelConfig& config,
                                                   KvCache& cache,
                                                   std::span<const std::unique_ptr<Device>> devices,
                                                   const ModelRunnerOptions& options);
  // What make() takes on the head's device and on the host, in bytes.
  static uint64_t bytes(const ModelConfig& config, const ModelRunnerOptions& options);

  Result<std::span<const float>> run(const Batch& batch) override;
  Result<std::span<const float>> run_with_hidden(const Batch& batch) override;
  Result<std::span<const float>> hidden(uint32_t first, uint32_t count) override;
  // Where the config says `predicts`.
  Result<std::span<const float>> draft(const Batch& batch,
                                       std::span<const uint32_t> hidden_rows) override;
  Result<std::span<const float>> draft_further(const Batch& batch, uint32_t state) override;

 private:
  ModelRunner(Model& model, KvCache& cache, std::span<const std::unique_ptr<Device>> devices)
      : model_(model), cache_(cache), devices_(devices) {}
  Result<std::span<const float>> forward(const Batch& batch, const Tensor& hidden);
  Result<std::span<const float>> read(const Tensor& from, std::vector<float>& to);

  Model& model_;
  KvCache& cache_;
  std::span<const std::unique_ptr<Device>> devices_;
  std::unique_ptr<Buffer> logit_memory_, hidden_memory_;  // on the head's device
  Tensor logits_;                                         // [logit_rows_max, vocabulary]
  std::vector<float> host_;
  // None without a prediction layer and embeddings.
  Tensor hidden_;  // [tokens_max, width] of the last step
  std::vector<float> host_hidden_;
  // None without a prediction layer.
  Tensor gathered_;  // [tokens_max, width] of them, what a draft begins from
  Tensor states_;    // [logit_rows_max, width] what drafts go on from
};

}  // namespace hadal
