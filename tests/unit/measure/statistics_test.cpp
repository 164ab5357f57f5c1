#include "measure/statistics.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(Spread, MedianOfOddAndEvenCounts) {
  const Spread odd = spread_of({3, 1, 2});
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.least, 1);
  EXPECT_EQ(odd.most, 3);
  EXPECT_EQ(spread_of({4, 1, 2, 9}).median, 3);
  EXPECT_EQ(spread_of({7}).median, 7);
}

// numpy.quantile of the same numbers.
TEST(Quantile, LiesBetweenSamplesByTheirDistance) {
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0), 1);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 1), 4);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.25), 1.75);
  EXPECT_DOUBLE_EQ(quantile({5}, 0.9), 5);
}

TEST(Percentiles, OfAHundredAndOneSteps) {
  std::vector<double> samples;
  for (int i = 100; i >= 0; --i) samples.push_back(i);
  const Percentiles found = percentiles_of(samples);
  EXPECT_DOUBLE_EQ(found.p50, 50);
  EXPECT_DOUBLE_EQ(found.p90, 90);
  EXPECT_DOUBLE_EQ(found.p99, 99);
  EXPECT_EQ(percentiles_of({}).p99, 0);
}

}  // namespace
}  // namespace hadal
