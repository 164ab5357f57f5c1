// The CPU device's kernels, one table of functions an instruction set. This header enters files
// that are compiled for instruction sets the machine may lack, so it holds plain C types alone: an
// inline function or template here could be merged by the linker into code that runs everywhere.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace hadal::cpu {

struct KernelTable {
  const char* name;   // as DeviceOptions::instruction_set takes it
  const char* title;  // for people

  // sum of a[i] * b[i]
  float (*dot)(const float* a, const float* b, size_t count);

  // Reads every byte (a multiple of 4096) and returns something that depends on all.
  uint32_t (*read)(const void* data, size_t bytes);
  // Keeps the float multipliers busy for about `rounds` rounds; returns how many multiply-adds.
  uint64_t (*multiply_adds)(uint64_t rounds);
};

const KernelTable& kernels_avx2();
const KernelTable& kernels_avx512();
const KernelTable& kernels_vnni();

}  // namespace hadal::cpu
