// What is the same in every decoder-only transformer, whatever its layers do: embedding, the walk
// over the layers and their devices, final norm and head.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "device/ops.h"
#include "model/model.h"
#include "model/weights.h"

namespace hadal {

// Where in a device's scratch a tensor lies.
struct ScratchPart {
  uint64_t offset = 0;
  uint32_t rows = 0, columns = 0;
  QuantType type = QuantType::kF32;
  Tensor of(Buffer& scratch, uint32_t row_count) const {
    return scratch.tensor(type, rows, columns, offset).first_rows(row_count);
  }
};

// Lays parts out one behind the other; from a mark on they may be laid over others, for work that
// is done before the other begins.
class ScratchPlan {
 public:
  ScratchPart take(uint32_t rows, uint32_t columns, QuantType type = QuantType::kF32);
  uint64_t mark() const { return end_; }
  void rewind(uint64_t mark) { end_ = mark; }
  uint64_t bytes() const { return bytes_; }  // that everything taken so far needs

 private:
  uint64_t end_ = 0, bytes_ = 0;
};

// The walk's own part of the scratch, before that of the layers.
struct WalkScratch {
  WalkScratch(uint32_t width, bool predicts, const StepLimits& limits, ScratchPlan& plan)
      : x(plan.take(limits.tokens_max, width)), chosen(plan.take(limits.logit_rows_max, width)) {
    if (!predicts) return;
    const uint64_t shared = plan.mark();  // the layers' part begins when this has been used
    joined = plan.take(limits.tokens_max, 2 * width);
    plan.rewind(shared);
  }
  ScratchPart x, chosen;
  ScratchPart joined;  // what a prediction layer's input is projected from
};

// One layer in one step, all of it on the layer's device.
struct LayerWork {
  uint32_t layer;
  Ops& ops;
  const SequenceLayout& layout;
  PagedKv cache;
  Tensor x;         // [tokens, width]: the residual stream, in and out
  Buffer& scratch;  // laid out by whoever made the layers
};

class Layers {
 public:
  virtual ~Layers() = default;
  virtual void run(const LayerWork& work) const = 0;
};

struct WalkOptions {
  uint32_t layers, width, vocabulary;
  bool predicts = false;   // behind the layers is one that predicts: `Layers` runs it by its number
  float norm_epsilon;      // of the final norm
  uint64_t scratch_bytes;  // the walk's and the layers'
};

// Allocates scratch on every device that holds any of the weights.
Result<std::unique_ptr<Model>> build_walk(const WalkOptions& options, const Weights& weights,
                                          const StepLimits& limits,
                                          std::unique_ptr<const Layers> layers);

}  // namespace hadal
