// How a model's makers want it sampled, and which tokens end its answers, as its file says.
#pragma once

#include <vector>

#include "engine/sampler.h"
#include "file/metadata.h"

namespace hadal {

// R1's recommendation (SamplingOptions' own defaults: 0.6, 0.95), with what the file states put
// over it: generation_config.json ("generation.*") or a GGUF's general.sampling.*. do_sample false
// without a temperature means greedy. A value outside the option's range is passed over.
SamplingOptions sampling_defaults(const Metadata& metadata);

// generation_config.json's eos_token_id, one or several; empty if it says none.
std::vector<TokenId> generation_end_tokens(const Metadata& metadata);

}  // namespace hadal
