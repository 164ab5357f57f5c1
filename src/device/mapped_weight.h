// A weight used where the file's mapping has it: what Weight::data means to devices of this
// process's own memory. A list of places; vectors alone are copied, as float32.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "device/device.h"

namespace hadal {

// A Buffer so that LoadedWeight can own it; it has no tensors.
class MappedWeight final : public Buffer {
 public:
  // Errors name the weight: no pieces, unequal pieces, sizes that do not match the shape, scales
  // where there can be none, an empty weight, a vector of several rows.
  static Result<std::unique_ptr<MappedWeight>> create(const WeightSource& source);
  // As Device::upload gives it.
  static Result<LoadedWeight> load(Device& device, const WeightSource& source);

  static const MappedWeight& of(const Weight& weight) {
    return *static_cast<const MappedWeight*>(weight.data);
  }

  QuantType type() const { return type_; }
  uint32_t experts() const { return experts_; }
  uint32_t rows() const { return rows_; }
  uint32_t columns() const { return columns_; }
  size_t row_bytes() const { return row_bytes_; }
  const ScaleGrid* scales() const;  // of the first expert; null where there are none
  std::span<const float> vector() const { return vector_; }

  // One expert's matrix: rows one behind the other, and the block scales that belong to it.
  struct Matrix {
    const std::byte* data;
    ScaleGrid scales;
  };
  Matrix expert(uint32_t index) const;

  // A row's exact values, [columns]: the format's reference decode, times the row's scales.
  void decode_row(const Matrix& matrix, uint32_t row, float* values) const;

  size_t bytes() const override { return vector_.size() * sizeof(float); }
  Tensor tensor(QuantType, uint32_t, uint32_t, size_t) override;

 private:
  MappedWeight() = default;
  QuantType type_ = QuantType::kF32;
  uint32_t experts_ = 0, rows_ = 0, columns_ = 0;
  size_t row_bytes_ = 0;
  std::vector<WeightPiece> pieces_;
  std::vector<float> vector_;
};

}  // namespace hadal
