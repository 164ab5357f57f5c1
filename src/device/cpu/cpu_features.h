// What the processor can do and the system lets it do: CPUID says what is there, XCR0 says which
// registers the kernel saves, and only both together make an instruction set usable.
#pragma once

#include <span>
#include <string_view>

namespace hadal::cpu {

struct CpuFeatures {
  bool avx2 = false;         // AVX2, FMA, F16C, BMI2
  bool avx512 = false;       // avx2, and AVX-512 F, BW, DQ, VL
  bool avx512_vnni = false;  // avx512, and its int8 dot product
  bool avx512_bf16 = false;  // avx512, and its dot product of bf16
  bool avx_vnni = false;     // avx2, and the 256-bit int8 dot product of client processors
};

CpuFeatures detect_cpu_features();

// The instruction sets that have kernels and that `features` allow, slowest first: names as
// DeviceOptions::instruction_set takes them.
std::span<const std::string_view> known_instruction_sets();
bool has_instruction_set(const CpuFeatures& features, std::string_view name);

}  // namespace hadal::cpu
