#include "hub/network/byte_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace hadal {
namespace {

TEST(ByteRangesTest, JoinsWhatTouches) {
  ByteRanges ranges;
  ranges.add({10, 20});
  ranges.add({30, 40});
  ranges.add({20, 30});
  ranges.add({5, 5});
  EXPECT_EQ(ranges.ranges(), (std::vector<ByteRange>{{10, 40}}));
  EXPECT_EQ(ranges.bytes(), 30u);
  EXPECT_EQ(ranges.prefix(), 0u);
  ranges.add({0, 10});
  EXPECT_EQ(ranges.prefix(), 40u);
  EXPECT_EQ(ranges.first_gap({0, 100}), (ByteRange{40, 100}));
  EXPECT_EQ(ranges.first_gap({0, 40}).size(), 0u);
}

TEST(ByteRangesTest, AgreesWithOneFlagAByte) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<bool> there(64);
    ByteRanges ranges;
    for (int i = 0; i < 12; ++i) {
      const uint64_t begin = random() % 64, end = begin + random() % (65 - begin);
      ranges.add({begin, end});
      for (uint64_t at = begin; at < end; ++at) there[at] = true;
      EXPECT_EQ(ranges.bytes(),
                static_cast<uint64_t>(std::count(there.begin(), there.end(), true)));
      const uint64_t from = random() % 64, to = from + random() % (65 - from);
      uint64_t gap = from;
      while (gap < to && there[gap]) ++gap;
      uint64_t gap_end = gap;
      while (gap_end < to && !there[gap_end]) ++gap_end;
      const ByteRange found = ranges.first_gap({from, to});
      EXPECT_EQ(found.size(), gap_end - gap);
      if (found.size() > 0) {
        EXPECT_EQ(found, (ByteRange{gap, gap_end}));
      }
    }
  }
}

}  // namespace
}  // namespace hadal
