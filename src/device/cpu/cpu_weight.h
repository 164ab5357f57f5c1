// What Weight::data means to the CPU device.
#pragma once

#include <memory>
#include <vector>

#include "device/device.h"

namespace hadal::cpu {

// Matrices stay where the file's mapping has them: a weight is a list of places. Vectors become
// float32 once.
class CpuWeight final : public Buffer {
 public:
  // Errors name the weight: no pieces, unequal pieces, sizes that do not match the shape, scales
  // where there can be none.
  static Result<std::unique_ptr<CpuWeight>> create(const WeightSource& source);

  static const CpuWeight& of(const Weight& weight) {
    return *static_cast<const CpuWeight*>(weight.data);
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

  // A row's exact values, [columns], by the format's reference decode.
  void decode_row(const Matrix& matrix, uint32_t row, float* values) const;

  size_t bytes() const override { return vector_.size() * sizeof(float); }
  Tensor tensor(QuantType, uint32_t, uint32_t, size_t) override;

 private:
  CpuWeight() = default;
  QuantType type_ = QuantType::kF32;
  uint32_t experts_ = 0, rows_ = 0, columns_ = 0;
  size_t row_bytes_ = 0;
  std::vector<WeightPiece> pieces_;
  std::vector<float> vector_;
};

}  // namespace hadal::cpu
