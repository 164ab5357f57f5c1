#include "engine/log_probabilities.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "engine/softmax.h"

namespace hadal {

namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

// Sums are kept side by side in a fixed order, which is also the vector code's.
constexpr size_t kGroup = 64, kLanes = 16;

float as_number(float logit) {
  const float number = logit >= kLowest ? logit : kLowest;  // NaN is below everything
  return number <= kLargest ? number : kLargest;
}

double sum_of_weights(std::span<const float> logits, float maximum) {
  double total = 0;
  size_t i = 0;
  for (; i + kGroup <= logits.size(); i += kGroup) {
    float lanes[kLanes] = {};
    for (size_t at = i; at < i + kGroup; at += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        lanes[lane] += exp_nonpositive(as_number(logits[at + lane]) - maximum);
      }
    }
    for (const float lane : lanes) total += lane;
  }
  for (; i < logits.size(); ++i) total += exp_nonpositive(as_number(logits[i]) - maximum);
  return total;
}

}  // namespace

LogProbabilities LogProbabilityReport::of(std::span<const float> logits, TokenId chosen) {
  CHECK(top_ <= entries_.size() && static_cast<size_t>(chosen) < logits.size());
  float maximum = kLowest;
  for (const float logit : logits) maximum = std::max(maximum, as_number(logit));
  // Without any number there is no distribution: nothing is likely.
  const double total = maximum == kLowest ? 1 : sum_of_weights(logits, maximum);
  const double log_total = std::log(total);
  const auto log_probability = [&](float logit) {
    if (logit == kLowest) return kLowest;
    return static_cast<float>(double{logit} - double{maximum} - log_total);
  };

  const size_t top = std::min<size_t>(top_, logits.size());
  size_t count = 0;
  for (size_t i = 0; i < logits.size() && top > 0; ++i) {
    const float logit = as_number(logits[i]);
    if (count == top && !(logit > entries_[count - 1].log_probability)) continue;
    size_t at = count < top ? count++ : count - 1;
    for (; at > 0 && logit > entries_[at - 1].log_probability; --at)
      entries_[at] = entries_[at - 1];
    entries_[at] = {.token = static_cast<TokenId>(i), .log_probability = logit};
  }
  for (TokenProbability& entry : std::span(entries_).first(count)) {
    entry.log_probability = log_probability(entry.log_probability);
  }
  const float of_chosen = log_probability(as_number(logits[static_cast<size_t>(chosen)]));
  return {.chosen = {.token = chosen, .log_probability = of_chosen},
          .top = std::span<const TokenProbability>(entries_).first(count)};
}

}  // namespace hadal
