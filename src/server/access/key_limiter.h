// What one key may still ask: requests and tokens a minute, requests at once. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "server/access/key.h"

namespace hadal {

// So many a minute. What is not used is saved up, for a minute; what was taken too much is owed.
class MinuteAllowance {
 public:
  using Clock = std::chrono::steady_clock;

  void set(uint32_t per_minute, Clock::time_point now);  // 0: no limit
  // Seconds until something is left, rounded up; 0: now.
  uint32_t wait_seconds(Clock::time_point now);
  void take(uint64_t count, Clock::time_point now);

 private:
  void refill(Clock::time_point now);

  double per_minute_ = 0, left_ = 0;
  Clock::time_point filled_;
};

struct KeyRefusal {
  std::string message;
  uint32_t retry_after_seconds = 1;
};

class KeyLimiter : public std::enable_shared_from_this<KeyLimiter> {
 public:
  using Clock = MinuteAllowance::Clock;

  void set(const KeyLimits& limits, Clock::time_point now);
  // A refusal; or nothing, and place: as long as it lives the request counts as under way.
  std::optional<KeyRefusal> admit(Clock::time_point now, std::shared_ptr<void>& place);
  // What an answer took, known when it is over: a key may owe tokens, then it waits longer.
  void charge(uint64_t tokens, Clock::time_point now);

 private:
  std::mutex mutex_;
  KeyLimits limits_;
  bool set_ = false;
  MinuteAllowance requests_, tokens_;
  uint32_t under_way_ = 0;
};

}  // namespace hadal
