// A weight on the reference device: the pieces it was given, where they lie.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "device/device.h"

namespace hadal {

class ReferenceWeight final : public Buffer {
 public:
  // Errors name the weight: no pieces, unequal pieces, sizes that do not match the shape, scales
  // where there can be none.
  static Result<std::unique_ptr<ReferenceWeight>> create(const WeightSource& source);

  uint32_t experts() const { return experts_; }
  uint32_t rows() const { return rows_; }
  uint32_t columns() const { return columns_; }
  QuantType type() const { return type_; }
  const ScaleGrid* scales() const;  // of the first piece; null where there are none

  // values: [columns] floats: exactly what the file stores, times its scale.
  void decode_row(uint32_t expert, uint32_t row, float* values) const;
  // A vector's floats.
  std::span<const float> vector() const { return vector_; }

  // A Buffer so that LoadedWeight can own it; it has no tensors.
  size_t bytes() const override { return vector_.size() * sizeof(float); }
  Tensor tensor(QuantType, uint32_t, uint32_t, size_t) override;

 private:
  ReferenceWeight() = default;
  QuantType type_ = QuantType::kF32;
  uint32_t experts_ = 0, rows_ = 0, columns_ = 0;
  std::vector<WeightPiece> pieces_;
  std::vector<float> vector_;
};

}  // namespace hadal
