#include "device/cpu/product.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/sizes.h"

namespace hadal::cpu {
namespace {

std::optional<IntegerFormat> integer_format(QuantType type) {
  switch (type) {
    case QuantType::kQ4_0:
      return kInt_Q4_0;
    case QuantType::kQ4_1:
      return kInt_Q4_1;
    case QuantType::kQ5_0:
      return kInt_Q5_0;
    case QuantType::kQ5_1:
      return kInt_Q5_1;
    case QuantType::kQ8_0:
      return kInt_Q8_0;
    case QuantType::kQ2_K:
      return kInt_Q2_K;
    case QuantType::kQ3_K:
      return kInt_Q3_K;
    case QuantType::kQ4_K:
      return kInt_Q4_K;
    case QuantType::kQ5_K:
      return kInt_Q5_K;
    case QuantType::kQ6_K:
      return kInt_Q6_K;
    case QuantType::kIQ4_NL:
      return kInt_IQ4_NL;
    case QuantType::kIQ4_XS:
      return kInt_IQ4_XS;
    case QuantType::kMXFP4:
      return kInt_MXFP4;
    case QuantType::kIQ1_S:
      return kInt_IQ1_S;
    case QuantType::kIQ1_M:
      return kInt_IQ1_M;
    case QuantType::kIQ2_XXS:
      return kInt_IQ2_XXS;
    case QuantType::kIQ2_XS:
      return kInt_IQ2_XS;
    case QuantType::kIQ2_S:
      return kInt_IQ2_S;
    case QuantType::kIQ3_XXS:
      return kInt_IQ3_XXS;
    case QuantType::kIQ3_S:
      return kInt_IQ3_S;
    default:
      return std::nullopt;
  }
}

FloatFormat float_format(QuantType type) {
  switch (type) {
    case QuantType::kF16:
      return kFloat_F16;
    case QuantType::kBF16:
      return kFloat_BF16;
    case QuantType::kF8_E4M3:
      return kFloat_F8;
    default:
      CHECK(type == QuantType::kF32);
      return kFloat_F32;
  }
}

}  // namespace

constexpr size_t kRun = 256;  // columns that kernels of quantised weights take at once

// Of few tokens rows go through the cache, not memory, once for each kGemvTokensMax of them.
constexpr size_t kBytesAtOnce = size_t{64} << 10;
// Times the root mean square of a block's values. Less is exacter and dearer: of a bell curve's
// values one in 200 is beyond 2.8 (docs/numbers.md has what each costs).
constexpr float kReach = 2.8f;

bool takes_digits(QuantType type) {
  return integer_format(type).has_value();
}

DigitTokens take_digits(Arena& arena, size_t columns, size_t tokens) {
  DigitTokens digits = {};
  digits.columns = round_up(columns, kRun);
  const size_t values = tokens * digits.columns;
  digits.high = arena.take<int8_t>(values);
  digits.low = arena.take<int8_t>(values);
  digits.crossed_high = arena.take<int8_t>(values);
  digits.crossed_low = arena.take<int8_t>(values);
  digits.steps = arena.take<uint8_t>(values / 32);
  digits.scales = arena.take<float>(values / 32);
  digits.sums32 = arena.take<float>(values / 32);
  digits.sums16 = arena.take<float>(values / 16);
  digits.starts = arena.take<int32_t>(values / kSparseBlock);
  digits.group_starts = arena.take<int32_t>(values / 32);
  return digits;
}

DigitTokens digits_from(const DigitTokens& digits, size_t token) {
  const size_t first = token * digits.columns;
  return {digits.columns,
          digits.high + first,
          digits.low + first,
          digits.crossed_high + first,
          digits.crossed_low + first,
          digits.steps + first / 32,
          digits.scales + first / 32,
          digits.sums32 + first / 32,
          digits.sums16 + first / 16,
          digits.starts + first / kSparseBlock,
          digits.group_starts + first / 32};
}

void pad_digits(const DigitTokens& digits, size_t columns, size_t token) {
  const size_t first = token * digits.columns + columns, count = digits.columns - columns;
  if (count == 0) return;
  std::memset(digits.high + first, 0, count);
  std::memset(digits.low + first, 0, count);
  for (size_t group = first / 32; group < (first + count) / 32; ++group) {
    for (const size_t place : {crossed_place(group), crossed_place(group) + 64}) {
      std::memset(digits.crossed_high + place, 0, 16);
      std::memset(digits.crossed_low + place, 0, 16);
    }
  }
  std::fill_n(digits.steps + first / 32, count / 32, uint8_t{0});
  std::fill_n(digits.scales + first / 32, count / 32, 0.0f);
  std::fill_n(digits.sums32 + first / 32, count / 32, 0.0f);
  std::fill_n(digits.sums16 + first / 16, count / 16, 0.0f);
}

void quantize_part(const KernelTable& kernels, size_t tokens, const float* in, size_t first,
                   size_t count, const DigitTokens& digits, size_t token) {
  if (tokens <= kFewTokensMax) {
    kernels.quantize_fine(in, first, count, digits, token);
  } else {
    kernels.quantize_sparse(in, first, count, kReach, digits, token);
  }
}

void quantize(const KernelTable& kernels, size_t tokens, const float* in, size_t columns,
              const DigitTokens& digits, size_t token) {
  quantize_part(kernels, tokens, in, 0, columns, digits, token);
  pad_digits(digits, columns, token);
}

StoredMatrix::StoredMatrix(const KernelTable& kernels, const MappedWeight& weight, uint32_t expert)
    : weight_(&weight), matrix_(weight.expert(expert)) {
  if (const auto format = integer_format(weight.type())) {
    integer_ = &kernels.integer[*format];
  } else {
    floating_ = &kernels.floating[float_format(weight.type())];
  }
}

RowScales StoredMatrix::row_scales(size_t row) const {
  const ScaleGrid& grid = matrix_.scales;
  if (grid.data == nullptr) return {};
  return {grid.data + row / grid.rows_per_scale * divide_up(columns(), grid.columns_per_scale),
          grid.columns_per_scale};
}

// `multiply(rows, tokens, to)` for tokens in parts that a gemv takes, of rows that stay in the
// cache meanwhile.
template <typename Multiply>
static void multiply_few(const WeightRows& all, const Activations& in, const Destination& to,
                         const Multiply& multiply) {
  const size_t at_once =
      in.tokens <= kGemvTokensMax ? all.rows : std::max<size_t>(4, kBytesAtOnce / all.row_bytes);
  for (size_t row = 0; row < all.rows; row += at_once) {
    const WeightRows rows = {all.data + row * all.row_bytes, all.row_bytes,
                             std::min(at_once, all.rows - row)};
    for (size_t token = 0; token < in.tokens; token += kGemvTokensMax) {
      Activations part = {.tokens = std::min(kGemvTokensMax, in.tokens - token),
                          .digits = digits_from(in.digits, token),
                          .floats = in.floats};
      part.floats.values += token * in.floats.stride;
      multiply(rows, part,
               Destination{to.out + token * to.stride + row, to.stride,
                           to.bias == nullptr ? nullptr : to.bias + row, to.add});
    }
  }
}

void StoredMatrix::multiply(size_t first, size_t last, const Activations& in, std::byte* panel,
                            Destination to) const {
  auto* memory = reinterpret_cast<uint8_t*>(panel);
  while (first < last) {
    // Rows of a call share their line of the grid.
    const size_t lines = matrix_.scales.data == nullptr ? 0 : matrix_.scales.rows_per_scale;
    const size_t end = lines == 0 ? last : std::min(last, (first / lines + 1) * lines);
    const WeightRows rows = {reinterpret_cast<const uint8_t*>(matrix_.data) + first * row_bytes(),
                             row_bytes(), end - first};
    if (in.few()) {
      multiply_few(rows, in, to, [&](const WeightRows& some, const Activations& x, Destination at) {
        if (integer_ != nullptr) {
          integer_->gemv(some, x.digits, x.tokens, at);
        } else {
          floating_->gemv(some, row_scales(first), x.floats, x.tokens, at);
        }
      });
    } else if (integer_ != nullptr) {
      integer_->gemm(rows, in.digits, in.tokens, memory, to);
    } else {
      floating_->gemm(rows, row_scales(first), in.floats, in.tokens, memory, to);
    }
    to.out += rows.rows;
    if (to.bias != nullptr) to.bias += rows.rows;
    first = end;
  }
}

void StoredMatrix::decode(size_t row, float* values) const {
  const auto* data = reinterpret_cast<const uint8_t*>(matrix_.data) + row * row_bytes();
  if (integer_ != nullptr) {
    integer_->decode(data, columns(), values);
  } else {
    floating_->decode(data, row_scales(row), columns(), values);
  }
}

void decode_row(const KernelTable& kernels, QuantType type, const uint8_t* row, size_t columns,
                float* values) {
  if (const auto format = integer_format(type)) {
    kernels.integer[*format].decode(row, columns, values);
  } else {
    kernels.floating[float_format(type)].decode(row, {}, columns, values);
  }
}

size_t panel_bytes(const KernelTable& kernels) {
  return round_up(std::max(kernels.float_panel_bytes, kernels.integer_panel_bytes), Arena::kLine);
}

}  // namespace hadal::cpu
