// How much a step may hold so that those who are answering get their next token in time. Knows no
// clock: it is told what each step held and how long it took; the same reports give the same
// bounds.
//
// Prompt chunks are what a step can do without: while anybody answers, their size follows the
// target, down at once where a step took too long (multiplicatively), up slowly (as congestion
// control does; for chunks: arXiv 2403.02310, section 4). Where steps are too long with the
// smallest chunk or without one, fewer sequences are admitted, and more again where there is time
// left. A target that one sequence alone cannot meet is missed: there is always one, and prompts
// always go on.
#pragma once

#include <cstdint>

#include "engine/scheduler.h"

namespace hadal {

class LatencyPace {
 public:
  static constexpr uint32_t kPromptTokensLeast = 16;
  // Where a step takes this share of the target or less, the next may hold more.
  static constexpr double kRoom = 0.85;
  static constexpr double kGrowth = 1.25, kShrinkMost = 0.5;  // of a chunk, in a step
  // So many steps in a row change the number of sequences: they stay long, and one slow step is
  // chance.
  static constexpr uint32_t kPatience = 4;

  // target_seconds: positive, of one step. most: what memory allows.
  LatencyPace(double target_seconds, const StepBounds& most);

  const StepBounds& bounds() const { return bounds_; }
  // answering: sequences of the step that got their next token. prompt_tokens: of the chunks.
  void measured(uint32_t answering, uint32_t prompt_tokens, double seconds);

 private:
  void too_long(uint32_t answering);
  void time_left(uint32_t answering);

  double target_seconds_;
  StepBounds most_, bounds_;
  uint32_t too_long_ = 0, time_left_ = 0;  // steps in a row
};

}  // namespace hadal
