// The rows of one part of a cache as bytes.
#pragma once

#include "device/tensor.h"

namespace hadal::cpu {

class CacheRows {
 public:
  CacheRows() = default;
  explicit CacheRows(const Tensor& cache)
      : data_(static_cast<std::byte*>(cache.data)),
        row_bytes_(row_bytes(cache.type, cache.row_stride)),
        block_values_(quant_format(cache.type).block_values),
        block_bytes_(quant_format(cache.type).block_bytes) {}

  size_t stride() const { return row_bytes_; }
  std::byte* row(size_t row) const { return data_ + row * row_bytes_; }
  // Of a head's part of a row, which is whole blocks or the row's only one.
  size_t bytes(size_t values) const {
    return (values + block_values_ - 1) / block_values_ * block_bytes_;
  }
  // As kernels take it; the column begins a block.
  const uint8_t* place(size_t row, size_t column) const {
    return reinterpret_cast<const uint8_t*>(this->row(row)) + column / block_values_ * block_bytes_;
  }

 private:
  std::byte* data_ = nullptr;
  size_t row_bytes_ = 0, block_values_ = 1, block_bytes_ = 0;
};

}  // namespace hadal::cpu
