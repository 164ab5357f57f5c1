// Views of memory that a device owns: Tensor (activations, caches) and Weight (parameters). Small,
// copyable, never owning.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "quant/format.h"

namespace hadal {

class Device;

// rows x columns values, row-major; row r starts at r * row_stride values. Activations are float32;
// a KV cache may be f16 or bf16, the experts a router chose are i32. Only ops of `device` may touch
// `data`.
struct Tensor {
  Device* device = nullptr;
  QuantType type = QuantType::kF32;
  uint32_t rows = 0, columns = 0;
  uint32_t row_stride = 0;  // in values
  void* data = nullptr;

  explicit operator bool() const { return data != nullptr; }

  Tensor row_range(uint32_t first, uint32_t count) const {
    CHECK(first <= rows && count <= rows - first);
    Tensor view = *this;
    view.rows = count;
    view.data = static_cast<std::byte*>(data) + size_t{first} * row_bytes(type, row_stride);
    return view;
  }
  Tensor first_rows(uint32_t count) const { return row_range(0, count); }
  // Some columns of every row, for values that lie side by side in one projection's output.
  Tensor column_range(uint32_t first, uint32_t count) const {
    CHECK(first <= columns && count <= columns - first);
    Tensor view = *this;
    view.columns = count;
    view.data = static_cast<std::byte*>(data) + row_bytes(type, first);
    return view;
  }

  // The same values as another shape, for per-head ops: [tokens, heads * width] -> [tokens * heads,
  // width].
  Tensor reshaped(uint32_t new_rows, uint32_t new_columns) const {
    CHECK(row_stride == columns && size_t{new_rows} * new_columns == size_t{rows} * columns);
    Tensor view = *this;
    view.rows = new_rows;
    view.columns = view.row_stride = new_columns;
    return view;
  }
};

// A parameter, made by Device::upload alone. `data` is opaque to all but its device (mapped file
// bytes, repacked tiles, ...). Logically [experts, rows, columns]; y[r] = sum over c of W[r, c]
// x[c]. A vector has rows 1.
struct Weight {
  Device* device = nullptr;
  QuantType type = QuantType::kF32;  // what the file stores; products are of exactly these values
  uint32_t experts = 1, rows = 0, columns = 0;
  const void* data = nullptr;
  const ScaleGrid* scales = nullptr;

  explicit operator bool() const { return data != nullptr; }
};

}  // namespace hadal
