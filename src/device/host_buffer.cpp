#include "device/host_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/memory_limits.h"
#include "base/sizes.h"

namespace hadal {

Result<std::unique_ptr<HostBuffer>> HostBuffer::create(Device& device, size_t bytes) {
  const uint64_t left = available_memory_bytes();
  if (bytes <= left) {
    const size_t page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t mapped_bytes = round_up(std::max<size_t>(bytes, 1), page_bytes);
    // More than is wanted, of which what lies before a huge page's start and behind the end goes.
    const size_t spare_bytes = bytes < kHugePage ? 0 : kHugePage - page_bytes;
    void* mapped = mmap(nullptr, mapped_bytes + spare_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped != MAP_FAILED) {
      auto* data = static_cast<std::byte*>(mapped);
      const size_t past = reinterpret_cast<uintptr_t>(mapped) % kHugePage;
      const size_t before = spare_bytes == 0 || past == 0 ? 0 : kHugePage - past;
      if (before != 0) munmap(data, before);
      data += before;
      if (before != spare_bytes) munmap(data + mapped_bytes, spare_bytes - before);
      return std::unique_ptr<HostBuffer>(new HostBuffer(device, data, bytes, mapped_bytes));
    }
  }
  return fail("not enough memory on device {}: {} ({} bytes) wanted, {} ({} bytes) left",
              device.info().name, format_bytes(bytes), bytes, format_bytes(left), left);
}

HostBuffer::~HostBuffer() {
  munmap(data_, mapped_bytes_);
}

Tensor HostBuffer::tensor(QuantType type, uint32_t rows, uint32_t columns, size_t offset) {
  const auto tensor_bytes = checked_multiply(rows, row_bytes(type, columns));
  CHECK(offset % 64 == 0 && offset <= bytes_);
  CHECK(tensor_bytes && *tensor_bytes <= bytes_ - offset);
  return Tensor{.device = device_,
                .type = type,
                .rows = rows,
                .columns = columns,
                .row_stride = columns,
                .data = data_ + offset};
}

}  // namespace hadal
