// Reads what a model file says about rotary embedding, in all the spellings that are met:
// GGUF (rope.freq_base, rope.scaling.*), config.json of before (rope_theta, rope_scaling.*) and
// since transformers 5 (rope_parameters.*).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "model/config_fields.h"
#include "model/rope_frequencies.h"

namespace hadal {

// `context` is what the file states (context_length, max_position_embeddings): the default of a
// scaling's original context. Errors name the field: a kind of scaling that is not implemented, a
// missing or impossible number, an unknown field of the scaling. `divisors` stays empty.
Result<RopeSettings> read_rope_settings(ConfigFields& fields, uint32_t head_width,
                                        uint32_t context);

}  // namespace hadal
