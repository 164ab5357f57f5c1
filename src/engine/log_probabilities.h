// The model's own distribution at one place of an answer, for readers who ask: of the token that
// was drawn, and of the likeliest. The same bits for the same logits. Allocates nothing behind its
// constructor. Engine thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/engine.h"

namespace hadal {

class LogProbabilityReport {
 public:
  explicit LogProbabilityReport(uint32_t top) : top_(top) {}
  // top: at most Request::kTopLogProbabilitiesMost and the vocabulary.

  // logits: [vocabulary], as the model gave them: NaN counts as -infinity, infinity as the largest
  // number. The view is good until the next call.
  LogProbabilities of(std::span<const float> logits, TokenId chosen);

 private:
  uint32_t top_;
  std::array<TokenProbability, Request::kTopLogProbabilitiesMost> entries_;
};

}  // namespace hadal
