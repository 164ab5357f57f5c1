// Every device a test can run on here: "reference", "guarded" (support/guarded_device.h), and
// "cpu_SET" for each instruction set this machine has.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/device.h"

namespace hadal {

std::vector<std::string> test_device_names();
std::unique_ptr<Device> open_test_device(const std::string& name, uint32_t threads = 2);

}  // namespace hadal
