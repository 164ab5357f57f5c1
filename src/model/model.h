// A model that can be run: one architecture's mathematics over weights that lie on one device or
// several.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "device/ops.h"
#include "file/metadata.h"
#include "file/tensor_index.h"
#include "model/kv_cache.h"
#include "model/manifest.h"

namespace hadal {

class Weights;

// What every architecture has. Each architecture derives its own.
struct ModelConfig {
  virtual ~ModelConfig() = default;
  uint32_t layers = 0;
  uint32_t width = 0;  // of the residual stream
  uint32_t vocabulary = 0;
  uint32_t context_max = 0;           // tokens the model was made for, after its rope scaling
  std::vector<std::string> warnings;  // fields of the file we do not know: a sentence each
  virtual KvLayout kv_layout() const = 0;
};

// A step's tokens. A prefill chunk and a decode token differ only in their count. Host memory;
// views.
struct Batch {
  std::span<const int32_t> tokens;
  SequenceLayout layout;
  std::span<const uint32_t> logit_rows;  // which tokens' logits are wanted, ascending
};

// The most a step may hold: scratch is sized from these before start.
struct StepLimits {
  uint32_t tokens_max = 512;
  uint32_t logit_rows_max = 64;
};

// Shows a test every layer: names "embedding", "layer.0" (the residual after layer 0), ..., "norm"
// (after the final norm; only logit rows), "logits". Called in order, while forward runs; the
// tensor may be read during the call only.
class Tap {
 public:
  virtual ~Tap() = default;
  virtual void on(std::string_view name, const Tensor& value) = 0;
};

struct Outputs {
  Tensor
      logits;  // [logit_rows, vocabulary] float32, on the device of the head (Model::head_device)
  Tap* tap = nullptr;
};

class Model {
 public:
  virtual ~Model() = default;
  virtual Device& head_device() const = 0;
  // Queues one step; nothing has been waited for when it returns. Limits are CHECKed. Not
  // thread-safe.
  virtual void forward(const Batch& batch, KvCache& cache, const Outputs& outputs) = 0;
};

// One architecture, one file; `architectures()` lists them.
struct Architecture {
  std::string_view name;  // as general.architecture and model_type say it: "llama"
  // Reads and validates every field that changes the mathematics, in either dialect; a value we do
  // not implement is refused by name.
  Result<std::unique_ptr<ModelConfig>> (*read_config)(const Metadata&, const TensorIndex&);
  Manifest (*manifest)(const ModelConfig&, const TensorIndex& present, Dialect dialect);
  // Allocates scratch for `limits` on every device that holds any of the weights. `weights` must
  // outlive the model.
  Result<std::unique_ptr<Model>> (*build)(const ModelConfig&, const Weights& weights,
                                          const StepLimits& limits);
  // Bytes of scratch that build() will take on each device that holds any of the weights, for the
  // planner.
  uint64_t (*scratch_bytes)(const ModelConfig&, const StepLimits& limits);
};

std::span<const Architecture> architectures();
// Errors: names the architecture found and those known.
Result<const Architecture*> find_architecture(std::string_view name);

}  // namespace hadal
