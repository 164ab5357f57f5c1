// Sizes that come from files: arithmetic that cannot wrap, and words for people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace hadal {

inline std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

// The least multiple of `alignment` (a power of two or not, at least 1) that is >= value; value
// must leave room for it.
inline constexpr uint64_t round_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

inline constexpr uint64_t divide_up(uint64_t value, uint64_t divisor) {
  return (value + divisor - 1) / divisor;
}

// "98.4 MB", "1.06 GB", "512 bytes": decimal units, as disks and model hubs count.
std::string format_bytes(uint64_t bytes);

}  // namespace hadal
