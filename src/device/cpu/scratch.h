// Memory of the CPU device: in huge pages where the system has them.
#pragma once

#include <cstddef>
#include <memory>

#include "device/host_buffer.h"

namespace hadal::cpu {

// A HostBuffer that asks for huge pages.
Result<std::unique_ptr<HostBuffer>> allocate_host(Device& device, size_t bytes);

// Scratch that grows to the largest size ever asked for and then stays: no allocation once a
// model's largest step has run.
class Scratch {
 public:
  // At least `bytes` bytes, aligned to a page. What it held is lost when it grows. Errors as
  // allocate_host.
  Result<std::byte*> reserve(Device& device, size_t bytes);

 private:
  std::unique_ptr<HostBuffer> buffer_;
};

}  // namespace hadal::cpu
