#include "engine/draft_pace.h"

#include <algorithm>

namespace hadal {

namespace {

// A quicker time counts half, a slower one an eighth and at most as four times the figure (the
// machine did something else meanwhile). At first the quickest counts alone.
constexpr double kQuickerShare = 1.0 / 2, kSlowerShare = 1.0 / 8, kSlowerRatioMost = 4;
constexpr uint32_t kFirstTimes = 4;

// What is assumed of guesses never tried, as so many tries of which half were right; how much of
// the past a try leaves, and how much an opportunity that was passed over.
constexpr double kPriorTries = 2, kPriorRight = 1;
constexpr double kKeptByTry = 0.9, kKeptByPass = 1 - 1.0 / 128;

constexpr double kGainLeast = 1.03;  // below, the figures' noise decides

}  // namespace

void StepCosts::measured(uint32_t tokens, double seconds) {
  ++steps_;
  if (tokens == 0 || tokens > kTokensMost || !(seconds > 0)) return;
  Figure& figure = figures_[tokens];
  if (!fresh(tokens)) figure = {.seconds = seconds};
  if (seconds < figure.seconds) {
    figure.seconds += (figure.times < kFirstTimes ? 1 : kQuickerShare) * (seconds - figure.seconds);
  } else if (figure.times >= kFirstTimes) {
    const double bounded = std::min(seconds, figure.seconds * kSlowerRatioMost);
    figure.seconds += kSlowerShare * (bounded - figure.seconds);
  }
  figure.step = steps_;
  ++figure.times;
}

std::optional<double> StepCosts::seconds(uint32_t tokens) const {
  uint32_t below = std::min(tokens, kTokensMost);
  while (below > 0 && !known(below)) --below;
  if (below == 0) return std::nullopt;
  const double at_below = figures_[below].seconds;
  if (below == tokens) return at_below;
  const auto line = [&](uint32_t other) {
    const double slope = (figures_[other].seconds - at_below) /
                         (static_cast<double>(other) - static_cast<double>(below));
    return at_below + std::max(slope, 0.0) * (tokens - below);
  };
  for (uint32_t above = below + 1; above <= kTokensMost; ++above) {
    if (known(above)) return line(above);
  }
  for (uint32_t before = below - 1; before > 0; --before) {
    if (known(before)) return line(before);
  }
  return at_below;
}

uint32_t StepCosts::largest_known() const {
  uint32_t tokens = kTokensMost;
  while (tokens > 0 && !known(tokens)) --tokens;
  return tokens;
}

bool StepCosts::fresh(uint32_t tokens) const {
  const uint64_t step = figures_[tokens].step;
  return step > 0 && steps_ - step <= kForgetSteps;
}

double DraftAcceptance::probability(uint32_t grade) const {
  const Counts& counts = counts_[grade];
  return (counts.right + kPriorRight) / (counts.all + kPriorTries);
}

double DraftAcceptance::best_probability() const {
  double best = 0;
  for (uint32_t grade = 0; grade < kDraftGrades; ++grade) best = std::max(best, probability(grade));
  return best;
}

void DraftAcceptance::tried(uint32_t grade, uint32_t drafted, uint32_t accepted) {
  Counts& counts = counts_[grade];
  // Behind the first wrong guess nothing was tried.
  counts.right = kKeptByTry * counts.right + accepted;
  counts.all = kKeptByTry * counts.all + std::min(accepted + 1, drafted);
}

void DraftAcceptance::passed_over(uint32_t grade) {
  counts_[grade].right *= kKeptByPass;
  counts_[grade].all *= kKeptByPass;
}

uint32_t draft_tokens(const StepCosts& costs, const DraftQuestion& question) {
  const auto without = costs.seconds(question.step_tokens);
  if (!without) return 0;
  const uint32_t largest =
      std::min(std::max(costs.largest_known(), question.step_tokens) + kUnknownTokensMost,
               StepCosts::kTokensMost);
  uint32_t best = 0;
  double best_speed = kGainLeast * question.expected_tokens / *without;
  double accepted = 0, right = 1;
  for (uint32_t count = 1; count <= question.tokens_max; ++count) {
    if (question.step_tokens + count > largest) break;
    right *= question.probability;
    accepted += right;
    const auto with = costs.seconds(question.step_tokens + count);
    if (!with) break;
    const double speed =
        (question.expected_tokens + accepted) / (*with + count * question.guess_seconds);
    if (speed > best_speed) {
      best_speed = speed;
      best = count;
    }
  }
  return best;
}

double expected_accepted(double probability, uint32_t drafted) {
  double accepted = 0, right = 1;
  for (uint32_t i = 0; i < drafted; ++i) accepted += right *= probability;
  return accepted;
}

}  // namespace hadal
