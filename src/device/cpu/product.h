// A stored matrix times activations: what matmul, experts and latent attention are made of.
#pragma once

#include <cstddef>

#include "device/cpu/arena.h"
#include "device/cpu/kernels/table.h"
#include "device/mapped_weight.h"

namespace hadal::cpu {

// Whether a format's kernels take digits, not floats.
bool takes_digits(QuantType type);

// Of so many tokens a product is bound by the reading of the weights: they have fine digits and go
// through gemv, so that what is answered one token or some guesses at a time stays the same. More
// have sparse digits and go through gemm.
constexpr size_t kFewTokensMax = 8;

// Tokens in the form that a format's kernels take.
struct Activations {
  size_t tokens = 0;
  DigitTokens digits = {};
  FloatTokens floats = {};

  bool few() const { return tokens <= kFewTokensMax; }
};

// Room for tokens of `columns` values, from an arena that has started or not.
DigitTokens take_digits(Arena& arena, size_t columns, size_t tokens);
// The same tokens from `token` on.
DigitTokens digits_from(const DigitTokens& digits, size_t token);
// A token of `columns` values in the form that kernels take (table.h) where `tokens` are multiplied
// together, and zeros behind it, where kernels read whole runs.
void quantize(const KernelTable& kernels, size_t tokens, const float* in, size_t columns,
              const DigitTokens& digits, size_t token);
// The same in parts, which may come from several threads: columns [first, first + count), multiples
// of 32, of many tokens kSparseBlock; and the zeros.
void quantize_part(const KernelTable& kernels, size_t tokens, const float* in, size_t first,
                   size_t count, const DigitTokens& digits, size_t token);
void pad_digits(const DigitTokens& digits, size_t columns, size_t token);

// One expert's matrix with the kernels of its format.
class StoredMatrix {
 public:
  StoredMatrix() = default;
  StoredMatrix(const KernelTable& kernels, const MappedWeight& weight, uint32_t expert);

  size_t rows() const { return weight_->rows(); }
  size_t columns() const { return weight_->columns(); }
  size_t row_bytes() const { return weight_->row_bytes(); }
  bool takes_digits() const { return integer_ != nullptr; }

  // Rows [first, last) times all tokens; `to` is the place of row `first`. `panel`: panel_bytes, of
  // this thread alone.
  void multiply(size_t first, size_t last, const Activations& in, std::byte* panel,
                Destination to) const;
  // [columns] values.
  void decode(size_t row, float* values) const;

 private:
  RowScales row_scales(size_t row) const;

  const MappedWeight* weight_ = nullptr;
  MappedWeight::Matrix matrix_ = {};
  const IntegerKernels* integer_ = nullptr;  // or
  const FloatKernels* floating_ = nullptr;
};

// One row of any format without scales; columns: whole blocks.
void decode_row(const KernelTable& kernels, QuantType type, const uint8_t* row, size_t columns,
                float* values);

// What a thread's gemm unpacks into, a multiple of a cache line.
size_t panel_bytes(const KernelTable& kernels);

}  // namespace hadal::cpu
