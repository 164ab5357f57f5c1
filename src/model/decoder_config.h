// What the dense decoder-only transformers we know have in common: the numbers that say their
// shape, and the tensors they consist of. An architecture adds what is its own.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/ops.h"
#include "file/metadata.h"
#include "file/tensor_index.h"
#include "model/common_config.h"
#include "model/config_fields.h"
#include "model/model.h"
#include "model/rope_frequencies.h"

namespace hadal {

struct DecoderConfig : CommonConfig {
  uint32_t heads = 0, kv_heads = 0;
  uint32_t head_width = 0;  // of queries, keys and values
  uint32_t feed_forward_width = 0;
  RopePairs rope_pairs = RopePairs::kHalves;
  RopeFrequencies rope;

  KvLayout kv_layout() const override {
    return {.layers = layers,
            .key_columns = kv_heads * head_width,
            .value_columns = kv_heads * head_width,
            .kv_heads = kv_heads};
  }
  AttentionWork attention_work() const override {
    return {.pair = uint64_t{layers} * heads * 2 * head_width};
  }
};

// What an architecture says of itself, once, beside its forward.
struct DecoderTraits {
  std::string_view folder_class;              // of config.json's "architectures"
  RopePairs gguf_pairs = RopePairs::kHalves;  // folders always hold halves
  bool rope_factors = false;  // reads Llama-3 scaling as a GGUF has it: rope_freqs.weight
  // What config.json may leave out differs by the defaults of its class in transformers.
  bool kv_heads_may_be_absent = false;    // then: as many as heads
  bool head_width_may_be_absent = false;  // then: width / heads
};

// Reads everything above; `config.warnings` is left to finish_config. Errors name the field and
// what is wrong with it.
Status read_decoder_config(ConfigFields& fields, const TensorIndex& tensors,
                           const DecoderTraits& traits, DecoderConfig& config);

// A vector that a layer has beyond the nine tensors of every decoder (two norms; query, key, value
// and attention's output; gate, up and down).
struct LayerVector {
  Role role;
  uint32_t columns;
};

// Every tensor of the model under the file's names. A tied head is the embedding's tensor a second
// time, as Role::kHead.
Manifest decoder_manifest(const DecoderConfig& config, const TensorIndex& present, Dialect dialect,
                          const DecoderTraits& traits,
                          std::initializer_list<LayerVector> layer_vectors);

}  // namespace hadal
