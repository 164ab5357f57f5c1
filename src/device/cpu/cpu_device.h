// The CPU device: kernels for the instruction sets of x86-64 from AVX2 on, chosen when it is
// opened; threads by physical core; weights used where the file's mapping has them. Ops are done
// when they return. Its tensors lie in ordinary memory; on a machine of several memory nodes on all
// of them by turns, as do the pages of files that its threads bring in (base/numa.h).
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace hadal {

struct CpuOptions {
  uint32_t threads = 0;              // 0: one a physical core this process may use
  std::string_view instruction_set;  // "": the best there is
  std::filesystem::path root = "/";  // where memory nodes are looked for (tests)
};

// Errors: a processor without AVX2; an instruction set that is unknown, or not there.
Result<std::unique_ptr<Device>> make_cpu_device(const CpuOptions& options);

// What instruction_set may be on this machine, slowest first.
std::vector<std::string_view> usable_instruction_sets();

}  // namespace hadal
