// Random numbers without state: draw number `counter` of stream `seed` is a function of the two
// (counter-based, as in "Parallel random numbers: as easy as 1, 2, 3", SC 2011). So a draw does not
// depend on what else ran, in what batch, or how often a sequence was preempted.
//
// The function is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
// OOPSLA 2014): the state advances by a constant and is then mixed, so its n-th output needs no
// loop. The seed is mixed first: neighbouring seeds give unrelated streams.
#pragma once

#include <cstdint>

namespace hadal {

// A bijection of 64 bits in which every input bit reaches every output bit (SplitMix64's finisher).
inline constexpr uint64_t mix_bits(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

inline constexpr uint64_t random_bits(uint64_t seed, uint64_t counter) {
  return mix_bits(mix_bits(seed) + counter * 0x9e3779b97f4a7c15u);
}

// In [0, 1), a multiple of 2^-53.
inline constexpr double random_unit(uint64_t seed, uint64_t counter) {
  return static_cast<double>(random_bits(seed, counter) >> 11) * 0x1p-53;
}

}  // namespace hadal
