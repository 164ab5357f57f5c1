// What the configurations of all architectures state alike, in either dialect.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "file/tensor_index.h"
#include "model/config_fields.h"
#include "model/model.h"
#include "model/rope_frequencies.h"

namespace hadal {

// Far above any real model, far below what could overflow a size: a product of two of these fits
// uint64 with room for layers and bytes.
inline constexpr uint32_t kLayersMax = 1024;
inline constexpr uint32_t kWidthMax = 1u << 20;             // of the residual
inline constexpr uint32_t kFeedForwardWidthMax = 1u << 22;  // also heads * head width
inline constexpr uint32_t kHeadsMax = 1u << 14;
inline constexpr uint32_t kHeadWidthMax = 1u << 12;
inline constexpr uint32_t kVocabularyMax = 1u << 24;
inline constexpr uint32_t kContextMax = 1u << 30;  // positions are int32

struct CommonConfig : ModelConfig {
  float norm_epsilon = 0;
  bool tied_head = false;  // the embedding's table is the head's too
};

// Reads layers, width, vocabulary, context_max (as the file states it), norm_epsilon and tied_head.
Status read_common_config(ConfigFields& fields, const TensorIndex& tensors, CommonConfig& config);

// The context after a stretch: some files state it before, some after.
uint32_t stretched_context(const RopeScaling& scaling, uint32_t stated);

// Fields that change the mathematics of other models than ours, and those that change nothing.
// folder_class: of config.json's "architectures".
Status check_common_gguf_fields(ConfigFields& fields);
Status check_common_folder_fields(ConfigFields& fields, std::string_view folder_class);

// The last step of reading: turns what nobody accounted for into config.warnings, behind those that
// are there.
void finish_config(const ConfigFields& fields, ModelConfig& config);

}  // namespace hadal
