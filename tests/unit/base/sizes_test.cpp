#include "base/sizes.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(Sizes, CheckedArithmeticRefusesToWrap) {
  EXPECT_EQ(checked_multiply(1u << 31, 2), uint64_t{1} << 32);
  EXPECT_EQ(checked_multiply(UINT64_MAX, 1), UINT64_MAX);
  EXPECT_EQ(checked_multiply(0, UINT64_MAX), 0u);
  EXPECT_EQ(checked_multiply(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(checked_add(UINT64_MAX - 1, 1), UINT64_MAX);
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
}

TEST(Sizes, Rounding) {
  EXPECT_EQ(round_up(0, 32), 0u);
  EXPECT_EQ(round_up(1, 32), 32u);
  EXPECT_EQ(round_up(32, 32), 32u);
  EXPECT_EQ(round_up(7, 3), 9u);
  EXPECT_EQ(divide_up(0, 4), 0u);
  EXPECT_EQ(divide_up(1, 4), 1u);
  EXPECT_EQ(divide_up(8, 4), 2u);
}

TEST(Sizes, BytesForPeople) {
  EXPECT_EQ(format_bytes(0), "0 bytes");
  EXPECT_EQ(format_bytes(1), "1 byte");
  EXPECT_EQ(format_bytes(999), "999 bytes");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(98'400'000), "98.4 MB");
  EXPECT_EQ(format_bytes(1'060'000'000), "1.06 GB");
  EXPECT_EQ(format_bytes(999'499), "999 kB");
  EXPECT_EQ(format_bytes(999'500), "1.00 MB");
  EXPECT_EQ(format_bytes(9'995), "10.0 kB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "18.4 EB");
}

}  // namespace
}  // namespace hadal
