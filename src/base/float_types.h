// The small float types of model files, as bit patterns, and their exact conversions to float.
// f16: IEEE 754 binary16. bf16: the upper half of a binary32. f8_e4m3: OCP "fn" variant (no
// infinities, NaN = S.1111.111). e8m0: a power of two, 2^(x-127), 0xff = NaN (OCP
// Microscaling 1.0).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace hadal {

using f16 = uint16_t;
using bf16 = uint16_t;
using f8_e4m3 = uint8_t;
using e8m0 = uint8_t;

inline float f16_to_float(f16 half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 0x1f;
  const uint32_t mantissa = half & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero and subnormals, exact
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

// Rounds to nearest, ties to even; overflow becomes infinity; NaN stays NaN.
inline f16 float_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00;  // rounds to 2^16 or more
  if (magnitude < 0x38800000u) {                       // below 2^-14: subnormal, one unit is 2^-24
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return sign | static_cast<uint16_t>(std::nearbyint(scaled));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

inline float bf16_to_float(bf16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// Rounds to nearest, ties to even; NaN stays a (quiet) NaN.
inline bf16 float_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<bf16>((bits >> 16) | 0x40);
  return static_cast<bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float f8_e4m3_to_float(f8_e4m3 value) {
  const uint32_t exponent = (value >> 3) & 0xf;
  const uint32_t mantissa = value & 7;
  const float sign = (value & 0x80) ? -1.0f : 1.0f;
  if (exponent == 0xf && mantissa == 7) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return sign * static_cast<float>(mantissa) * 0x1p-9f;
  return sign * std::bit_cast<float>(((exponent + 120) << 23) | (mantissa << 20));
}

inline float e8m0_to_float(e8m0 value) {
  if (value == 0xff) return std::numeric_limits<float>::quiet_NaN();
  if (value == 0) return 0x1p-127f;
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 23);
}

}  // namespace hadal
