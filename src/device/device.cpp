#include "device/device.h"

#include <algorithm>

namespace hadal {
namespace {

constexpr size_t kStagingBytesMax = 4 << 20;  // a copy between devices passes through the host

}  // namespace

void copy(const Tensor& from, const Tensor& to) {
  CHECK(from && to && from.device && to.device);
  CHECK(from.type == to.type && from.rows == to.rows && from.columns == to.columns);
  if (from.device == to.device) return from.device->copy(from, to);
  const size_t bytes = row_bytes(from.type, from.columns);
  if (from.rows == 0 || bytes == 0) return;
  const uint32_t rows_at_once =
      static_cast<uint32_t>(std::clamp<size_t>(kStagingBytesMax / bytes, 1, from.rows));
  std::vector<std::byte> staging(rows_at_once * bytes);
  for (uint32_t row = 0; row < from.rows; row += rows_at_once) {
    const uint32_t count = std::min(rows_at_once, from.rows - row);
    from.device->read(from.row_range(row, count), staging.data());
    to.device->write(staging.data(), to.row_range(row, count));
  }
}

}  // namespace hadal
