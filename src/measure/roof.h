// The roof of a step: what it would take if each op ran at the speed that the machine was measured
// to have, the longer of its bytes over the read bandwidth and its multiply-adds over the peak
// (Williams, Waterman, Patterson: Roofline, 2009), one op after another. Weights are read once a
// step, keys and values once for each sequence. Activations, norms and sampling count as nothing.
#pragma once

#include <cstdint>

#include "engine/engine.h"

namespace hadal {

// Zero: not known, and the roof leaves it out.
struct MachineSpeeds {
  double read_bytes_per_s = 0;
  double weights_multiply_adds_per_s = 0, attention_multiply_adds_per_s = 0;
};

// A step in which `sequences` sequences each compute `tokens` tokens behind `past` others.
struct RoofStep {
  double sequences = 1, tokens = 1, past = 0;
  double logit_rows = 1;  // of all sequences
};

double roof_seconds(const EngineInfo& info, const MachineSpeeds& machine, const RoofStep& step);

// A prompt behind `past` tokens, in chunks as the engine cuts it; logits of its last token.
double prompt_roof_seconds(const EngineInfo& info, const MachineSpeeds& machine, uint32_t tokens,
                           uint32_t past);
// One step of `sequences` answers whose contexts have `context` tokens, their newest ones included.
double decode_roof_seconds(const EngineInfo& info, const MachineSpeeds& machine, uint32_t sequences,
                           double context);

// Experts of a stack that so many tokens are sent to, if each token's choice is even among all.
double experts_touched(const MatrixWork& matrix, double tokens);

}  // namespace hadal
