#include "device/reference/reference_weight.h"

#include "base/sizes.h"

namespace hadal {
namespace {

Status check_piece(const WeightSource& source, const WeightPiece& piece) {
  const WeightPiece& first = source.pieces.front();
  const QuantFormat& format = quant_format(piece.type);
  if (piece.type != first.type || piece.rows != first.rows || piece.columns != first.columns) {
    return fail("{}: its pieces differ: {} {} x {} and {} {} x {}", source.name,
                quant_format(first.type).name, first.rows, first.columns, format.name, piece.rows,
                piece.columns);
  }
  if (piece.columns % format.block_values != 0) {
    return fail("{}: rows of {} values are not a multiple of the {} values of a {} block",
                source.name, piece.columns, format.block_values, format.name);
  }
  const auto rows = checked_multiply(piece.experts, piece.rows);
  const auto bytes =
      rows ? checked_multiply(*rows, row_bytes(piece.type, piece.columns)) : std::nullopt;
  if (!bytes || *bytes != piece.data.size()) {
    return fail("{}: {} x {} x {} values of {} do not take {} bytes", source.name, piece.experts,
                piece.rows, piece.columns, format.name, piece.data.size());
  }
  if (piece.scales.data != nullptr &&
      (piece.type != QuantType::kF8_E4M3 || piece.scales.rows_per_scale == 0 ||
       piece.scales.columns_per_scale == 0)) {
    return fail("{}: block scales of {} x {} do not go with type {}", source.name,
                piece.scales.rows_per_scale, piece.scales.columns_per_scale, format.name);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ReferenceWeight>> ReferenceWeight::create(const WeightSource& source) {
  if (source.pieces.empty()) return fail("{}: a weight without pieces", source.name);
  const WeightPiece& first = source.pieces.front();
  auto weight = std::unique_ptr<ReferenceWeight>(new ReferenceWeight);
  uint64_t experts = 0;
  for (const WeightPiece& piece : source.pieces) {
    HADAL_TRY_VOID(check_piece(source, piece));
    experts += piece.experts;
  }
  if (experts == 0 || experts > UINT32_MAX || first.rows == 0 || first.columns == 0) {
    return fail("{}: an empty weight: {} experts of {} x {}", source.name, experts, first.rows,
                first.columns);
  }
  weight->type_ = first.type;
  weight->experts_ = static_cast<uint32_t>(experts);
  weight->rows_ = first.rows;
  weight->columns_ = first.columns;
  weight->pieces_.assign(source.pieces.begin(), source.pieces.end());
  if (source.use == WeightUse::kVector) {
    if (experts != 1 || first.rows != 1) {
      return fail("{}: a vector of {} x {} rows, expected 1", source.name, experts, first.rows);
    }
    weight->vector_.resize(first.columns);
    weight->decode_row(0, 0, weight->vector_.data());
  }
  return weight;
}

const ScaleGrid* ReferenceWeight::scales() const {
  const ScaleGrid& scales = pieces_.front().scales;
  return scales.data == nullptr ? nullptr : &scales;
}

void ReferenceWeight::decode_row(uint32_t expert, uint32_t row, float* values) const {
  CHECK(expert < experts_ && row < rows_);
  const WeightPiece* piece = pieces_.data();
  for (; expert >= piece->experts; ++piece) expert -= piece->experts;
  const size_t bytes = row_bytes(type_, columns_);
  const std::byte* data = piece->data.data() + (size_t{expert} * rows_ + row) * bytes;
  quant_format(type_).decode(data, values, columns_);
  const ScaleGrid& grid = piece->scales;
  if (grid.data == nullptr) return;
  // An expert has a grid of its own, one behind the other.
  const size_t grid_rows = divide_up(rows_, grid.rows_per_scale);
  const size_t grid_columns = divide_up(columns_, grid.columns_per_scale);
  const float* scales = grid.data + (expert * grid_rows + row / grid.rows_per_scale) * grid_columns;
  for (uint32_t column = 0; column < columns_; ++column) {
    values[column] *= scales[column / grid.columns_per_scale];
  }
}

Tensor ReferenceWeight::tensor(QuantType, uint32_t, uint32_t, size_t) {
  CHECK(!"a weight has no tensors");
  return {};
}

}  // namespace hadal
