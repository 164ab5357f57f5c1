// exp for the softmax of logits: the same bits on every machine (libm's differs by CPU and
// version), and simple enough that compilers turn a loop over it into vector code.
#pragma once

#include <bit>
#include <cstdint>

namespace hadal {

// e^x for x <= 0, within 2 units in the last place; 0 from -87 down (where float ends), for
// -infinity and for NaN.
//
// x = n ln 2 + r with |r| <= ln 2 / 2; e^x = 2^n e^r. ln 2 is split in two so that n times its
// upper part is exact (Cody and Waite); e^r is its Taylor series to r^7, whose rest is below 6e-9.
// Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits of the float.
// Floats are compared by their bits: a comparison of floats may raise a flag, which keeps it a
// branch.
inline float exp_nonpositive(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2Upper = 0.693359375f, kLn2Lower = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;
  constexpr int32_t kFarthest = std::bit_cast<int32_t>(87.0f);
  const int32_t distance = std::bit_cast<int32_t>(x) & 0x7fffffff;  // of |x|, as bits
  const float bounded = -std::bit_cast<float>(distance < kFarthest ? distance : kFarthest);
  const float shifted = bounded * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (bounded - n * kLn2Upper) - n * kLn2Lower;
  float series = 1.0f / 5040;
  series = series * r + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r + 1.0f;
  series = series * r + 1.0f;
  const int32_t exponent = (std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound))
                           << 23;                                   // n * 2^23
  const float power = std::bit_cast<float>(exponent + 0x3f800000);  // 2^n
  const int32_t mask = -static_cast<int32_t>(distance < kFarthest);
  return std::bit_cast<float>(std::bit_cast<int32_t>(series * power) & mask);
}

}  // namespace hadal
