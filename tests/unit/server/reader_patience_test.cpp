#include "server/http/reader_patience.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

using std::chrono::milliseconds;

constexpr HttpLimits kLimits{.write_seconds = 30, .write_bytes_per_second_min = 1000};

// Seconds until the reader is given up; a thousand at most.
double seconds_held(double bytes_per_second, bool waited = true) {
  const ReaderPatience::Clock::time_point begin{};
  ReaderPatience patience(kLimits, begin);
  for (int step = 1; step <= 4000; ++step) {
    const double seconds = step * 0.25;
    const auto taken = static_cast<uint64_t>(seconds * bytes_per_second);
    if (!patience.holds(begin + milliseconds(250 * step), waited, taken)) return seconds;
  }
  return 1000;
}

TEST(ReaderPatience, WhoTakesNothingIsGivenUp) {
  EXPECT_NEAR(seconds_held(0), 30, 0.5);
}

TEST(ReaderPatience, AByteNowAndThenDoesNotHelp) {
  EXPECT_NEAR(seconds_held(1), 30, 1);
  EXPECT_NEAR(seconds_held(500), 60, 1);
}

TEST(ReaderPatience, WhoIsMerelySlowIsWaitedFor) {
  EXPECT_EQ(seconds_held(1001), 1000);
}

TEST(ReaderPatience, WhereNothingLiesReadyNobodyIsWaitedFor) {
  EXPECT_EQ(seconds_held(0, false), 1000);
}

TEST(ReaderPatience, MuchTakenEarlierEarnsNoLongerPause) {
  const ReaderPatience::Clock::time_point begin{};
  ReaderPatience patience(kLimits, begin);
  EXPECT_TRUE(patience.holds(begin + milliseconds(29'000), true, 1'000'000'000));
  EXPECT_TRUE(patience.holds(begin + milliseconds(58'500), true, 1'000'000'000));
  EXPECT_FALSE(patience.holds(begin + milliseconds(59'500), true, 1'000'000'000));
}

}  // namespace
}  // namespace hadal
