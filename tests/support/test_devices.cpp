#include "support/test_devices.h"

#include "device/reference/reference_device.h"
#include "device/registry.h"
#include "support/guarded_device.h"
#include "support/workbench.h"

namespace hadal {
namespace {

constexpr std::string_view kCpuPrefix = "cpu_";

}  // namespace

std::vector<std::string> test_device_names() {
  std::vector<std::string> names = {"reference", "guarded"};
  for (const std::string_view set : cpu_instruction_sets()) {
    names.push_back(std::string(kCpuPrefix) + std::string(set));
  }
  return names;
}

std::unique_ptr<Device> open_test_device(const std::string& name, uint32_t threads) {
  if (name == "reference") return make_reference_device({.threads = threads});
  if (name == "guarded") return make_guarded_device({.seed = 7, .threads = threads});
  CHECK(name.starts_with(kCpuPrefix));
  return require(open_device(
      {.name = "cpu", .threads = threads, .instruction_set = name.substr(kCpuPrefix.size())}));
}

}  // namespace hadal
