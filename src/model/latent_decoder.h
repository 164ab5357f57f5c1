// The forward of DeepSeek's transformers: multi-head latent attention, and feed-forward layers that
// are dense or a mixture of experts.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "model/model.h"
#include "model/weights.h"

namespace hadal {

// Architecture::build and Architecture::scratch_bytes, for a LatentConfig.
Result<std::unique_ptr<Model>> build_latent_decoder(const ModelConfig& config,
                                                    const Weights& weights,
                                                    const StepLimits& limits);
uint64_t latent_decoder_scratch_bytes(const ModelConfig& config, const StepLimits& limits);

}  // namespace hadal
