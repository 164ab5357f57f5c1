#include "engine/latency_pace.h"

#include <algorithm>

#include "base/check.h"

namespace hadal {

namespace {

// A chunk that made its step too long is cut to what would have come to this share of the target.
constexpr double kAim = 0.9;

}  // namespace

LatencyPace::LatencyPace(double target_seconds, const StepBounds& most)
    : target_seconds_(target_seconds), most_(most), bounds_(most) {
  CHECK(target_seconds > 0 && most.prompt_tokens_max > 0 && most.sequences_max > 0);
}

void LatencyPace::measured(uint32_t answering, uint32_t prompt_tokens, double seconds) {
  if (answering == 0) return;  // nobody waits for a next token
  const double load = seconds / target_seconds_;
  uint32_t& chunk = bounds_.prompt_tokens_max;
  const uint32_t least = std::min(kPromptTokensLeast, most_.prompt_tokens_max);
  if (load > 1) {
    if (prompt_tokens == 0 || chunk <= least) return too_long(answering);
    const double kept = std::max(kShrinkMost, kAim / load);
    chunk = std::max(least, static_cast<uint32_t>(std::min(chunk, prompt_tokens) * kept));
    return;
  }
  if (load > kRoom) {
    too_long_ = time_left_ = 0;
    return;
  }
  if (prompt_tokens == 0) return time_left(answering);
  if (prompt_tokens < chunk) return;
  const double grown = chunk * kGrowth + 1;
  chunk = grown < most_.prompt_tokens_max ? static_cast<uint32_t>(grown) : most_.prompt_tokens_max;
}

void LatencyPace::too_long(uint32_t answering) {
  time_left_ = 0;
  if (++too_long_ < kPatience) return;
  too_long_ = 0;
  bounds_.sequences_max = std::max(1u, std::min(bounds_.sequences_max, answering - 1));
}

void LatencyPace::time_left(uint32_t answering) {
  too_long_ = 0;
  if (answering < bounds_.sequences_max || ++time_left_ < kPatience) return;
  time_left_ = 0;
  bounds_.sequences_max = std::min(most_.sequences_max, bounds_.sequences_max + 1);
}

}  // namespace hadal
