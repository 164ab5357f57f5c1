// Tensors and weights of a test on any device, made from host values.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/ops.h"

namespace hadal {

// Ends the test program with the error's sentence: what a test sets up must succeed.
template <typename T>
T require(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "test set-up failed: %s\n", result.error().message.c_str());
    std::abort();
  }
  return std::move(*result);
}

// rows x columns floats, packed.
struct Matrix {
  uint32_t rows = 0, columns = 0;
  std::vector<float> values;
  float& at(size_t row, size_t column) { return values[row * columns + column]; }
  float at(size_t row, size_t column) const { return values[row * columns + column]; }
  std::span<const float> row(size_t r) const { return {values.data() + r * columns, columns}; }
};

using Random = std::mt19937_64;

Matrix random_matrix(Random& random, uint32_t rows, uint32_t columns, float deviation = 1.0f);

// What a cache of this type keeps of rows, by its definition (PagedKv).
Matrix kept_by_cache(QuantType type, const Matrix& rows);

// The bytes of a stored weight and the exact values they mean.
struct StoredWeight {
  QuantType type = QuantType::kF32;
  Matrix decoded;
  std::vector<std::byte> bytes;
  std::vector<float> scales;  // F8_E4M3's grid, or none
  uint32_t rows_per_scale = 0, columns_per_scale = 0;
};

// Random blocks of sane scales: about `magnitude` a block's scale, some negative, some zero.
StoredWeight random_weight(Random& random, QuantType type, uint32_t rows, uint32_t columns,
                           float magnitude = 0.01f);
// F8_E4M3 with a grid of scales; the last rectangles of a row and a column may be smaller.
StoredWeight random_scaled_weight(Random& random, uint32_t rows, uint32_t columns,
                                  uint32_t rows_per_scale, uint32_t columns_per_scale);
StoredWeight stored_vector(QuantType type, std::span<const float> values);  // kF32, kF16, kBF16

// Owns what one run of a case needs on one device. Between rows longer than their columns lies
// NaN: an op that reads it shows, and finish() says whether one wrote it.
class Workbench {
 public:
  explicit Workbench(Device& device) : device_(device) {}

  // stride 0: columns.
  Tensor tensor(const Matrix& values, uint32_t stride = 0);
  Tensor blank(uint32_t rows, uint32_t columns, uint32_t stride = 0);  // all NaN
  // All NaN; of kI32, all -1.
  Tensor blank_of(QuantType type, uint32_t rows, uint32_t columns);
  Tensor whole_numbers(uint32_t rows, uint32_t columns, std::span<const int32_t> values);
  Weight matrix(const StoredWeight& weight);
  Weight vector(const StoredWeight& weight);
  // Experts of one type and shape, each a piece as a folder has them, or all in one as a GGUF does.
  enum class Stacking { kPieces, kOne };
  Weight stack(std::span<const StoredWeight> experts, Stacking stacking);

  // The tensor's values (a cache's type or i32), packed. Errors: a failed op, a write between rows.
  Result<std::vector<float>> finish(const Tensor& tensor);

 private:
  struct Strided {
    Tensor whole;
    uint32_t columns;
  };
  Weight load(const StoredWeight& weight, WeightUse use);

  Device& device_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<Strided> strided_;
  std::vector<LoadedWeight> weights_;
  std::vector<std::unique_ptr<StoredWeight>> stacks_;
};

}  // namespace hadal
