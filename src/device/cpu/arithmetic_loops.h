// Loops that keep an instruction set's multipliers busy with numbers of one type and touch no
// memory: what they do in a second is the peak that products can be compared with. The types are
// those that the instruction set could compute in, whether kernels use them or not.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "device/cpu/cpu_features.h"

namespace hadal::cpu {

struct ArithmeticLoop {
  std::string_view type;  // "int8", "bf16"
  bool integers = false;
  // Returns how many multiply-adds it did in so many rounds, tens of each round.
  uint64_t (*run)(uint64_t rounds) = nullptr;
};

// Beside float32, for which every kernel table has a loop. instruction_set: as
// known_instruction_sets() has it; what `features` lack is left out.
std::vector<ArithmeticLoop> arithmetic_loops(const CpuFeatures& features,
                                             std::string_view instruction_set);

}  // namespace hadal::cpu
