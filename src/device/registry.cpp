#include "device/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "device/cpu/cpu_device.h"
#include "device/reference/reference_device.h"

namespace hadal {

Result<std::unique_ptr<Device>> open_device(const DeviceOptions& options) {
  if (options.name == "cpu") {
    return make_cpu_device(
        {.threads = options.threads, .instruction_set = options.instruction_set});
  }
  if (options.name == "reference") {
    if (!options.instruction_set.empty()) {
      return fail("the device `reference` has no instruction sets to choose from, not `{}`",
                  options.instruction_set);
    }
    return make_reference_device({.threads = options.threads});
  }
  return fail("unknown device `{}`; known: {}", options.name, fmt::join(device_names(), ", "));
}

std::vector<std::string_view> device_names() {
  return {"cpu", "reference"};
}

std::vector<std::string_view> cpu_instruction_sets() {
  return usable_instruction_sets();
}

}  // namespace hadal
