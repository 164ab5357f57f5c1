// Whether drafts pay, from what steps took and how often guesses were right. Knows no clock and
// draws no lots: the same reports give the same decisions.
//
// A step of t tokens takes T(t) seconds: nearly as long for a few as for one where reading the
// weights takes the time, longer with each where arithmetic does. Of k drafts of a sequence whose
// guesses are right with probability a, a + a^2 + ... + a^k are expected to be accepted (arXiv
// 2211.17192, section 3.1). Drafts are worth it where they make expected tokens a second more.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "engine/drafter.h"
#include "engine/scheduler.h"

namespace hadal {

// T(t), learnt from steps of which every token's logits were wanted. One an engine: what a step
// takes is the machine's and the model's affair. A figure that was not confirmed for kForgetSteps
// steps is forgotten, so that drafts which once did not pay are now and then tried again.
class StepCosts {
 public:
  static constexpr uint32_t kTokensMost = 64;  // larger steps have no drafts
  static constexpr uint64_t kForgetSteps = 1024;

  void measured(uint32_t tokens, double seconds);
  // A figure is known from its second time on (the first may be a cold step's), and leans to the
  // quicker ones: delays come from elsewhere.
  // Between known figures by a straight line, beyond the last one by the line's last piece (at
  // least flat). Nothing where no smaller or equal step is known.
  std::optional<double> seconds(uint32_t tokens) const;
  // The largest step whose figure is known; 0: none.
  uint32_t largest_known() const;

 private:
  struct Figure {
    double seconds = 0;
    uint64_t step = 0;  // when it was last measured, from 1 on; 0: never
    uint32_t times = 0;
  };
  bool fresh(uint32_t tokens) const;
  bool known(uint32_t tokens) const { return fresh(tokens) && figures_[tokens].times > 1; }

  std::array<Figure, kTokensMost + 1> figures_;
  uint64_t steps_ = 0;
};

// How often a sequence's guesses are right, by the drafter's grade; recent ones count more.
class DraftAcceptance {
 public:
  // Of a guess whose predecessors were right.
  double probability(uint32_t grade) const;
  double best_probability() const;  // of any grade
  // A step had `drafted` guesses (at least 1), of which the first `accepted` were right.
  void tried(uint32_t grade, uint32_t drafted, uint32_t accepted);
  // There was a guess, and it was thought not worth its step: slowly, the past is forgotten.
  void passed_over(uint32_t grade);

 private:
  struct Counts {
    double right = 0, all = 0;
  };
  std::array<Counts, kDraftGrades> counts_;
};

struct DraftQuestion {
  uint32_t step_tokens = 1;    // that the step has without these drafts
  double expected_tokens = 1;  // that it is expected to give
  double probability = 0;      // of a guess
  uint32_t tokens_max = 0;     // that may be drafted
  double guess_seconds = 0;    // that each takes to be made
};
// How many drafts make the step's expected tokens a second most; 0 where none makes them notably
// more. Steps larger than any known are approached by kUnknownTokensMost tokens at a time.
inline constexpr uint32_t kUnknownTokensMost = 2;
uint32_t draft_tokens(const StepCosts& costs, const DraftQuestion& question);
// Of `drafted` guesses, how many will be accepted.
double expected_accepted(double probability, uint32_t drafted);

}  // namespace hadal
