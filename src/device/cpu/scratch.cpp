#include "device/cpu/scratch.h"

#include <sys/mman.h>

#include "base/sizes.h"

namespace hadal::cpu {

Result<std::unique_ptr<HostBuffer>> allocate_host(Device& device, size_t bytes) {
  HADAL_TRY(auto buffer, HostBuffer::create(device, bytes));
  if (bytes >= HostBuffer::kHugePage) {
    // A wish: where the system refuses, small pages serve as well.
    static_cast<void>(madvise(buffer->data(), round_up(bytes, 4096), MADV_HUGEPAGE));
  }
  return buffer;
}

Result<std::byte*> Scratch::reserve(Device& device, size_t bytes) {
  if (buffer_ == nullptr || bytes > buffer_->bytes()) {
    buffer_ = nullptr;  // never both: the old one may be half of what is left
    HADAL_TRY(buffer_, allocate_host(device, bytes));
  }
  return buffer_->data();
}

}  // namespace hadal::cpu
