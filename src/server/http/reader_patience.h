// How long a reader may keep its connection waiting. Its credit is HttpLimits::write_seconds at
// first; waiting uses it up, and every write_bytes_per_second_min bytes that the reader takes give
// back a second, up to where it began. So who takes nothing is given up after write_seconds, who
// takes a byte now and then little later, and who is merely slow never. I/O thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "server/limits.h"

namespace hadal {

class ReaderPatience {
 public:
  using Clock = std::chrono::steady_clock;
  explicit ReaderPatience(const HttpLimits& limits, Clock::time_point now = Clock::now())
      : credit_max_s_(limits.write_seconds),
        bytes_per_second_(std::max(1u, limits.write_bytes_per_second_min)),
        credit_s_(credit_max_s_),
        last_(now) {}

  // False: it is over. waited: whether bytes have lain ready since the last call; taken_bytes: by
  // the reader, of all that was ever sent to it.
  bool holds(Clock::time_point now, bool waited, uint64_t taken_bytes) {
    if (waited) credit_s_ -= std::chrono::duration<double>(now - last_).count();
    if (taken_bytes > taken_bytes_) {
      credit_s_ += static_cast<double>(taken_bytes - taken_bytes_) / bytes_per_second_;
      taken_bytes_ = taken_bytes;
    }
    credit_s_ = std::min(credit_s_, credit_max_s_);
    last_ = now;
    return credit_s_ > 0;
  }

 private:
  const double credit_max_s_, bytes_per_second_;
  double credit_s_;
  Clock::time_point last_;
  uint64_t taken_bytes_ = 0;
};

}  // namespace hadal
