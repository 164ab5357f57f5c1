// Every bit pattern of the small types, and every place where rounding to them turns. The expected
// values come from ldexp on the fields of the number, not from the bit tricks under test.
#include "base/float_types.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace hadal {
namespace {

// sign, exponent and mantissa to a number; the exponent field counts from `bias`.
double value_of(bool negative, int exponent, int mantissa, int mantissa_bits, int bias) {
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1.0 + fraction, exponent - bias);
  return negative ? -magnitude : magnitude;
}

TEST(F16, EveryPatternDecodes) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const bool negative = (bits & 0x8000) != 0;
    const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    const float found = f16_to_float(static_cast<f16>(bits));
    ASSERT_EQ(std::signbit(found), negative) << bits;
    if (exponent == 31) {
      ASSERT_EQ(std::isinf(found), mantissa == 0) << bits;
      ASSERT_EQ(std::isnan(found), mantissa != 0) << bits;
    } else {
      ASSERT_EQ(found, value_of(negative, exponent, mantissa, 10, 15)) << bits;
    }
  }
}

TEST(F16, EveryPatternComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_float(static_cast<f16>(bits));
    const f16 back = float_to_f16(value);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(f16_to_float(back))) << bits;
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

// Between two neighbours the middle goes to the even one, and the floats beside the middle to the
// nearer one.
TEST(F16, EveryTieGoesToTheEvenOne) {
  for (uint32_t low = 0; low < 0x7bff; ++low) {
    const f16 below = static_cast<f16>(low), above = static_cast<f16>(low + 1);
    const float middle = (f16_to_float(below) + f16_to_float(above)) / 2;  // exact
    const f16 even = low % 2 == 0 ? below : above;
    ASSERT_EQ(float_to_f16(middle), even) << low;
    ASSERT_EQ(float_to_f16(std::nextafter(middle, 0.0f)), below) << low;
    ASSERT_EQ(float_to_f16(std::nextafter(middle, INFINITY)), above) << low;
    ASSERT_EQ(float_to_f16(-middle), even | 0x8000) << low;
  }
}

TEST(F16, TheLargestAndWhatIsBeyond) {
  EXPECT_EQ(float_to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(float_to_f16(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_f16(1e30f), 0x7c00);
  EXPECT_EQ(float_to_f16(-INFINITY), 0xfc00);
  EXPECT_EQ(float_to_f16(1e-30f), 0);
  EXPECT_EQ(float_to_f16(-0.0f), 0x8000);
  EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16(NAN))));
}

TEST(Bf16, EveryPatternComesBackAndEveryTieGoesToTheEvenOne) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = bf16_to_float(static_cast<bf16>(bits));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bf16_to_float(float_to_bf16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(float_to_bf16(value), bits);
    if (std::isinf(value)) continue;
    const uint32_t middle = (bits << 16) | 0x8000;
    const uint32_t even = bits + bits % 2;
    ASSERT_EQ(float_to_bf16(std::bit_cast<float>(middle)), even) << bits;
    ASSERT_EQ(float_to_bf16(std::bit_cast<float>(middle - 1)), bits) << bits;
    ASSERT_EQ(float_to_bf16(std::bit_cast<float>(middle + 1)), bits + 1) << bits;
  }
  EXPECT_EQ(bf16_to_float(0x3f80), 1.0f);
  EXPECT_EQ(bf16_to_float(0xc049), -3.140625f);
  EXPECT_TRUE(std::isnan(bf16_to_float(
      float_to_bf16(std::bit_cast<float>(0x7f800001u)))));  // its bits lie in the lost half
}

TEST(F8E4M3, EveryPatternDecodes) {
  for (uint32_t bits = 0; bits < 256; ++bits) {
    const float found = f8_e4m3_to_float(static_cast<f8_e4m3>(bits));
    if ((bits & 0x7f) == 0x7f) {
      ASSERT_TRUE(std::isnan(found)) << bits;
      continue;
    }
    const bool negative = (bits & 0x80) != 0;
    ASSERT_EQ(found, value_of(negative, (bits >> 3) & 15, bits & 7, 3, 7)) << bits;
    ASSERT_EQ(std::signbit(found), negative) << bits;
  }
  EXPECT_EQ(f8_e4m3_to_float(0x7e), 448.0f);  // the largest
}

TEST(E8M0, EveryPatternIsAPowerOfTwo) {
  for (int bits = 0; bits < 255; ++bits) {
    ASSERT_EQ(e8m0_to_float(static_cast<e8m0>(bits)), std::ldexp(1.0, bits - 127)) << bits;
  }
  EXPECT_TRUE(std::isnan(e8m0_to_float(255)));
}

}  // namespace
}  // namespace hadal
