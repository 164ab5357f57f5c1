// Reads what a model file says about rotary embedding, in all the spellings that are met:
// GGUF (rope.freq_base, rope.scaling.*), config.json of before (rope_theta, rope_scaling.*) and
// since transformers 5 (rope_parameters.*).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "model/config_fields.h"
#include "model/rope_frequencies.h"

namespace hadal {

// What mscale and mscale_all_dim of a scaling mean.
enum class RopeMagnitudes : uint8_t {
  kHuggingFace,  // transformers': both or neither are given, and only their ratio matters
  // DeepSeek's own code: 1 and 0 unless given; the scores are multiplied by
  // magnitude(mscale_all_dim)^2 besides. A GGUF states 0.1 * mscale_all_dim as yarn_log_multiplier,
  // and an mscale equal to it. No other factor may be given.
  kDeepSeek,
};

// `context` is what the file states (context_length, max_position_embeddings): the default of a
// scaling's original context. Errors name the field: a kind of scaling that is not implemented, a
// missing or impossible number, an unknown field of the scaling. `divisors` stays empty. With
// kDeepSeek a scaling has mscale and mscale_all_dimensions.
Result<RopeSettings> read_rope_settings(ConfigFields& fields, uint32_t head_width, uint32_t context,
                                        RopeMagnitudes magnitudes = RopeMagnitudes::kHuggingFace);

}  // namespace hadal
