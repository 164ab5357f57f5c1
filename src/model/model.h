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
#include "model/attention_work.h"
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
  uint32_t context_max = 0;  // tokens the model was made for, after its rope scaling
  // Layers behind the model's own that the file has for predicting one token further (multi-token
  // prediction, arXiv 2412.19437, section 2.2), and that hadal can run: 0 or 1.
  uint32_t prediction_layers = 0;
  // They are to be loaded and run (Model::draft). Set before manifest() by who opens the model,
  // where prediction_layers is not 0.
  bool predicts = false;
  std::vector<std::string> warnings;  // fields of the file we do not know: a sentence each
  virtual KvLayout kv_layout() const = 0;
  virtual AttentionWork attention_work() const { return {}; }  // for figures; none: not said
  // Those that keep something of each token: numbers from `layers` on are prediction layers.
  uint32_t cached_layers() const { return layers + (predicts ? prediction_layers : 0); }
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
// (after the final norm; only logit rows), "logits"; of a draft "draft.input" (what goes into the
// prediction layer), "draft.layer", "draft.norm" and "draft.logits" (both only logit rows). Called
// in order, while forward or draft runs; the tensor may be read during the call only.
class Tap {
 public:
  virtual ~Tap() = default;
  virtual void on(std::string_view name, const Tensor& value) = 0;
};

// Tensors on the device of the head (Model::head_device), float32.
struct Outputs {
  Tensor logits;  // [logit_rows, vocabulary]
  // What draft() goes on from, or none: after the last norm. Of forward [tokens, width], of draft
  // [logit_rows, width].
  Tensor hidden;
  Tap* tap = nullptr;
};

class Model {
 public:
  virtual ~Model() = default;
  virtual Device& head_device() const = 0;
  // Queues one step; nothing has been waited for when it returns. Limits are CHECKed. Not
  // thread-safe.
  virtual void forward(const Batch& batch, KvCache& cache, const Outputs& outputs) = 0;
  // The prediction layer (ModelConfig::predicts): of a token's hidden state and the token that
  // follows it, logits of the token behind that. Queued like forward.
  //
  //   x = M [norm(embedding(next)); norm(hidden)],  logits = head(norm(layer(x)))
  //
  // (arXiv 2412.19437, equations 21 to 23; published files have the embedding's columns of M
  // first). batch: positions are those of the hidden states, tokens what follows each. The layer's
  // part of the cache has a row for each position it was given; it attends to all up to the
  // token's. hidden: [tokens, width], of forward, or of draft to guess further (published engines
  // do so with this one layer; the paper has a layer a step). It may be outputs.hidden.
  virtual void draft(const Batch& batch, const Tensor& hidden, KvCache& cache,
                     const Outputs& outputs) = 0;
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
