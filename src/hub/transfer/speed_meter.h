// Bytes a second as a person wants to see it: over the last few seconds, so that it follows a
// change and does not flicker. Time is an argument. Not synchronised.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace hadal {

class SpeedMeter {
 public:
  static constexpr double kWindow_s = 8;
  void note(uint64_t bytes_so_far, double now_s);  // neither ever goes back
  double bytes_per_s() const;                      // 0: not known yet
  std::optional<double> seconds_for(uint64_t bytes) const;

 private:
  struct Point {
    double time;
    uint64_t bytes;
  };
  std::deque<Point> points_;
};

// "45 s", "3 min", "2 h 10 min"
std::string format_duration(double seconds);

}  // namespace hadal
