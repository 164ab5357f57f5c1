// The forward of a dense decoder-only transformer, but for what makes a layer llama, qwen2 or
// qwen3: the two halves of a layer that are the same in all of them. What is round the layers:
// model/layer_walk.h.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "device/ops.h"
#include "model/decoder_config.h"
#include "model/model.h"
#include "model/weights.h"

namespace hadal {

struct DecoderLayer {
  Weight attention_norm;
  Weight query, query_bias, key, key_bias, value, value_bias;  // biases: none in most models
  Weight query_norm, key_norm;                                 // of each head; none in most models
  Weight attention_output;
  Weight feed_forward_norm, gate, up, down;
};

// What a layer works on during one step, all of it on the layer's device.
struct LayerStep {
  const DecoderConfig& config;
  const DecoderLayer& weights;
  const SequenceLayout& layout;
  Ops& ops;
  PagedKv cache;
  Tensor x;           // [tokens, width]: the residual stream, in and out
  Tensor normed;      // [tokens, width]
  Tensor query;       // [tokens, heads * head_width]
  Tensor key, value;  // [tokens, kv_heads * head_width]
  Tensor attended;    // [tokens, heads * head_width]
  Tensor gate, up;    // [tokens, feed_forward_width], in the memory of query .. attended
};

// An architecture's own part: from s.x to s.x through one layer.
using LayerFunction = void (*)(const LayerStep& s);

// Turns s.query and s.key to their positions, puts s.key and s.value into the cache, attends, and
// adds the projected result to the residual.
void attend(const LayerStep& s);
// x += down(silu(gate(norm(x))) * up(norm(x)))
void feed_forward(const LayerStep& s);

Result<std::unique_ptr<Model>> build_decoder(const DecoderConfig& config, const Weights& weights,
                                             const StepLimits& limits, LayerFunction layer);
// As Architecture::scratch_bytes.
uint64_t decoder_scratch_bytes(const DecoderConfig& config, const StepLimits& limits);

}  // namespace hadal
