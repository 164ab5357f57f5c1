#include "device/cpu/cpu_features.h"

#include <cpuid.h>

#include <array>
#include <cstdint>

namespace hadal::cpu {
namespace {

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf leaf(uint32_t number, uint32_t part) {
  Leaf out;
  // Zeros where the processor has no such leaf.
  __get_cpuid_count(number, part, &out.eax, &out.ebx, &out.ecx, &out.edx);
  return out;
}

bool bit(uint32_t word, int index) {
  return (word >> index) & 1;
}

// The register states the system saves and restores. Only valid where CPUID shows OSXSAVE.
uint64_t saved_states() {
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

constexpr uint64_t kAvxStates = 0x06;     // xmm, ymm
constexpr uint64_t kAvx512States = 0xe6;  // and mask registers, zmm 0-15, zmm 16-31

constexpr std::array<std::string_view, 4> kInstructionSets = {"avx2", "avx_vnni", "avx512",
                                                              "avx512_vnni"};

}  // namespace

CpuFeatures detect_cpu_features() {
  CpuFeatures features;
  const Leaf one = leaf(1, 0), seven = leaf(7, 0), seven_one = leaf(7, 1);
  const bool system_saves = bit(one.ecx, 27);
  if (!system_saves) return features;
  const uint64_t states = saved_states();
  const bool fma = bit(one.ecx, 12), f16c = bit(one.ecx, 29), avx = bit(one.ecx, 28);
  const bool avx2 = bit(seven.ebx, 5), bmi2 = bit(seven.ebx, 8);
  features.avx2 = (states & kAvxStates) == kAvxStates && avx && avx2 && fma && f16c && bmi2;
  const bool avx512 = bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) &&
                      bit(seven.ebx, 31);  // F, DQ, BW, VL
  features.avx512 = features.avx2 && avx512 && (states & kAvx512States) == kAvx512States;
  features.avx512_vnni = features.avx512 && bit(seven.ecx, 11);
  features.avx512_bf16 = features.avx512 && bit(seven_one.eax, 5);
  features.avx_vnni = features.avx2 && bit(seven_one.eax, 4);
  return features;
}

std::span<const std::string_view> known_instruction_sets() {
  return kInstructionSets;
}

bool has_instruction_set(const CpuFeatures& features, std::string_view name) {
  if (name == "avx2") return features.avx2;
  if (name == "avx_vnni") return features.avx_vnni;
  if (name == "avx512") return features.avx512;
  if (name == "avx512_vnni") return features.avx512_vnni;
  return false;
}

}  // namespace hadal::cpu
