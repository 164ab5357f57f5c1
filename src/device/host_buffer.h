// Memory for devices whose tensors lie in ordinary memory of this process.
#pragma once

#include <cstddef>
#include <memory>

#include "base/result.h"
#include "device/device.h"

namespace hadal {

// Zeroed, page-aligned, committed page by page as it is first touched. One that holds a huge page
// starts where one may lie.
class HostBuffer final : public Buffer {
 public:
  static constexpr size_t kHugePage = size_t{2} << 20;

  // Errors name the bytes wanted and the bytes left; what available_memory_bytes() does not leave
  // is refused, though the system might promise it. 0 bytes are a page. `device` owns the tensors.
  static Result<std::unique_ptr<HostBuffer>> create(Device& device, size_t bytes);
  ~HostBuffer() override;
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  size_t bytes() const override { return bytes_; }
  Tensor tensor(QuantType type, uint32_t rows, uint32_t columns, size_t offset = 0) override;
  std::byte* data() { return data_; }

 private:
  HostBuffer(Device& device, std::byte* data, size_t bytes, size_t mapped_bytes)
      : device_(&device), data_(data), bytes_(bytes), mapped_bytes_(mapped_bytes) {}
  Device* device_;
  std::byte* data_;
  size_t bytes_, mapped_bytes_;
};

}  // namespace hadal
