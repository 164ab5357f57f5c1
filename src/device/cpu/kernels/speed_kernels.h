// The loops that measure the machine. A body: included by each kernels_*.cpp after its vector
// types.
#pragma once

#include "device/cpu/kernels/bytes.h"

namespace {

// As the weights' kernels do, but for the arithmetic.
uint32_t read(const void* data, size_t bytes) {
  const auto* bytes_at = static_cast<const uint8_t*>(data);
  const Stream stream(bytes_at, bytes);
  Bits mix0 = zero_bits(), mix1 = zero_bits();
  for (size_t i = 0; i < bytes; i += 4 * Bits::kBytes) {
    stream.follow(bytes_at + i, 4 * Bits::kBytes);
    mix0 = exclusive_or(mix0, load_bits(bytes_at + i));
    mix1 = exclusive_or(mix1, load_bits(bytes_at + i + Bits::kBytes));
    mix0 = exclusive_or(mix0, load_bits(bytes_at + i + 2 * Bits::kBytes));
    mix1 = exclusive_or(mix1, load_bits(bytes_at + i + 3 * Bits::kBytes));
  }
  return first_word(exclusive_or(mix0, mix1));
}

// Ten chains: a multiply-add takes four cycles or five, and two start in each.
uint64_t multiply_adds(uint64_t rounds) {
  constexpr int kChains = 10;
  Floats chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = broadcast(static_cast<float>(i));
  Floats factor = broadcast(0.5f), term = broadcast(1.0f);
  for (uint64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+x"(factor.v), "+x"(term.v));  // not the same sum each round
    for (int i = 0; i < kChains; ++i) chains[i] = multiply_add(chains[i], factor, term);
  }
  Floats all = chains[0];
  for (int i = 1; i < kChains; ++i) all = all + chains[i];
  // The result lies between 0 and 100 a lane: what is added here is zero, but depends on the loop.
  return rounds * kChains * Floats::kWidth + (sum(all) < 0 ? 1 : 0);
}

}  // namespace
