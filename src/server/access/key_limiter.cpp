#include "server/access/key_limiter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace hadal {

void MinuteAllowance::set(uint32_t per_minute, Clock::time_point now) {
  per_minute_ = left_ = per_minute;
  filled_ = now;
}

void MinuteAllowance::refill(Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - filled_).count();
  if (seconds <= 0) return;
  left_ = std::min(per_minute_, left_ + seconds * per_minute_ / 60);
  filled_ = now;
}

uint32_t MinuteAllowance::wait_seconds(Clock::time_point now) {
  if (per_minute_ == 0) return 0;
  refill(now);
  if (left_ >= 1) return 0;
  constexpr double kSecondsMax = 86'400;
  const double seconds = (1 - left_) * 60 / per_minute_;
  return static_cast<uint32_t>(std::clamp(std::ceil(seconds), 1.0, kSecondsMax));
}

void MinuteAllowance::take(uint64_t count, Clock::time_point now) {
  if (per_minute_ == 0) return;
  refill(now);
  left_ -= static_cast<double>(count);
}

void KeyLimiter::set(const KeyLimits& limits, Clock::time_point now) {
  std::lock_guard lock(mutex_);
  if (set_ && limits == limits_) return;
  set_ = true;
  limits_ = limits;
  requests_.set(limits.requests_per_minute, now);
  tokens_.set(limits.tokens_per_minute, now);
}

std::optional<KeyRefusal> KeyLimiter::admit(Clock::time_point now, std::shared_ptr<void>& place) {
  std::lock_guard lock(mutex_);
  if (limits_.concurrent > 0 && under_way_ >= limits_.concurrent) {
    return KeyRefusal{
        fmt::format("{} requests of this key are under way, as many as it may have at once",
                    under_way_),
        1};
  }
  if (const uint32_t seconds = requests_.wait_seconds(now); seconds > 0) {
    return KeyRefusal{fmt::format("this key may send {} requests a minute; try again in {} s",
                                  limits_.requests_per_minute, seconds),
                      seconds};
  }
  if (const uint32_t seconds = tokens_.wait_seconds(now); seconds > 0) {
    return KeyRefusal{fmt::format("this key may use {} tokens a minute; try again in {} s",
                                  limits_.tokens_per_minute, seconds),
                      seconds};
  }
  requests_.take(1, now);
  ++under_way_;
  place = std::shared_ptr<void>(nullptr, [self = shared_from_this()](void*) {
    std::lock_guard inner(self->mutex_);
    --self->under_way_;
  });
  return std::nullopt;
}

void KeyLimiter::charge(uint64_t tokens, Clock::time_point now) {
  std::lock_guard lock(mutex_);
  tokens_.take(tokens, now);
}

}  // namespace hadal
