#include "hub/transfer/speed_meter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace hadal {

void SpeedMeter::note(uint64_t bytes, double now) {
  constexpr double kResolution_s = 0.1;
  if (!points_.empty() && now - points_.back().time < kResolution_s && points_.size() > 1) {
    points_.back().bytes = bytes;
    return;
  }
  points_.push_back({now, bytes});
  // One point older than the window stays: it is where the window begins.
  while (points_.size() > 2 && now - points_[1].time > kWindow_s) points_.pop_front();
}

double SpeedMeter::bytes_per_s() const {
  constexpr double kTooShort_s = 0.3;
  if (points_.size() < 2) return 0;
  const double seconds = points_.back().time - points_.front().time;
  if (seconds < kTooShort_s) return 0;
  return static_cast<double>(points_.back().bytes - points_.front().bytes) / seconds;
}

std::optional<double> SpeedMeter::seconds_for(uint64_t bytes) const {
  const double speed = bytes_per_s();
  if (speed <= 0) return std::nullopt;
  return static_cast<double>(bytes) / speed;
}

std::string format_duration(double seconds) {
  constexpr double kLongest_s = 100 * 24 * 3600.0;
  if (!(seconds < kLongest_s)) return "a very long time";
  const auto whole = static_cast<uint64_t>(std::ceil(std::max(0.0, seconds)));
  if (whole < 100) return fmt::format("{} s", whole);
  const uint64_t minutes = (whole + 59) / 60;
  if (minutes < 100) return fmt::format("{} min", minutes);
  if (minutes < 48 * 60) return fmt::format("{} h {} min", minutes / 60, minutes % 60);
  return fmt::format("{} days", (minutes + 720) / 1440);
}

}  // namespace hadal
