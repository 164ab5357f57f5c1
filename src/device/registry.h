// Devices by name: the only place that knows which concrete devices exist.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/device.h"

namespace hadal {

struct DeviceOptions {
  std::string name = "cpu";
  uint32_t threads = 0;         // 0: one a physical core this process may use
  std::string instruction_set;  // "": the best this machine has; "avx2", "avx512" ...: forced, an
                                // error if absent
};

// Errors: an unknown name (lists the known ones), a CPU without AVX2, an instruction set that is
// not there.
Result<std::unique_ptr<Device>> open_device(const DeviceOptions& options);

std::vector<std::string_view> device_names();  // in order of preference
// The instruction sets the CPU device can be forced to on this machine, slowest first.
std::vector<std::string_view> cpu_instruction_sets();

}  // namespace hadal
