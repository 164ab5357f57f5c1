// Hashing for the flat tables of the tokenizer. Keys come from files and users, so the seed is
// drawn anew in every process: nobody can prepare a vocabulary whose tokens all collide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hadal {

uint64_t hash_seed();  // the process's; random

inline uint64_t hash_mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Odd constants without pattern: the fractional digits of the golden ratio and of pi.
inline constexpr uint64_t kHashOdd1 = 0x9e3779b97f4a7c15;
inline constexpr uint64_t kHashOdd2 = 0x243f6a8885a308d3;

inline uint64_t hash_bytes(const char* bytes, size_t size, uint64_t seed) {
  uint64_t hash = seed ^ (size * kHashOdd1);
  uint64_t word = 0;
  while (size > 8) {
    std::memcpy(&word, bytes, 8);
    hash = hash_mix(hash ^ word, kHashOdd1);
    bytes += 8;
    size -= 8;
  }
  if (size >= 4) {  // two loads that overlap
    uint32_t low, high;
    std::memcpy(&low, bytes, 4);
    std::memcpy(&high, bytes + size - 4, 4);
    word = static_cast<uint64_t>(high) << 32 | low;
  } else if (size > 0) {
    const auto* const b = reinterpret_cast<const unsigned char*>(bytes);
    word =
        b[0] | static_cast<uint64_t>(b[size / 2]) << 8 | static_cast<uint64_t>(b[size - 1]) << 16;
  } else {
    word = 0;
  }
  return hash_mix(hash ^ word, seed ^ kHashOdd2);
}

}  // namespace hadal
