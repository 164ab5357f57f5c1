#include "device/mapped_weight.h"

#include "base/sizes.h"

namespace hadal {
namespace {

Status check_piece(const WeightSource& source, const WeightPiece& piece) {
  const WeightPiece& first = source.pieces.front();
  const QuantFormat& format = quant_format(piece.type);
  if (piece.type != first.type || piece.rows != first.rows || piece.columns != first.columns) {
    return fail("{}: its pieces differ: {} {} x {} beside {} {} x {}", source.name,
                quant_format(first.type).name, first.rows, first.columns, format.name, piece.rows,
                piece.columns);
  }
  if (piece.columns % format.block_values != 0) {
    return fail("{}: a row has {} values; {} stores multiples of {}", source.name, piece.columns,
                format.name, format.block_values);
  }
  const auto rows = checked_multiply(piece.experts, piece.rows);
  const auto bytes =
      rows ? checked_multiply(*rows, row_bytes(piece.type, piece.columns)) : std::nullopt;
  if (!bytes || *bytes != piece.data.size()) {
    return fail("{}: {} bytes are not {} x {} x {} values of {}", source.name, piece.data.size(),
                piece.experts, piece.rows, piece.columns, format.name);
  }
  const ScaleGrid& grid = piece.scales;
  if (grid.data != nullptr && (piece.type != QuantType::kF8_E4M3 || grid.rows_per_scale == 0 ||
                               grid.columns_per_scale == 0)) {
    return fail("{}: {} does not take block scales of {} x {}", source.name, format.name,
                grid.rows_per_scale, grid.columns_per_scale);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<MappedWeight>> MappedWeight::create(const WeightSource& source) {
  if (source.pieces.empty()) return fail("{}: a weight without pieces", source.name);
  const WeightPiece& first = source.pieces.front();
  uint64_t experts = 0;
  for (const WeightPiece& piece : source.pieces) {
    HADAL_TRY_VOID(check_piece(source, piece));
    experts += piece.experts;
  }
  if (experts == 0 || experts > UINT32_MAX || first.rows == 0 || first.columns == 0) {
    return fail("{}: an empty weight, {} x {} x {}", source.name, experts, first.rows,
                first.columns);
  }
  auto weight = std::unique_ptr<MappedWeight>(new MappedWeight);
  weight->type_ = first.type;
  weight->experts_ = static_cast<uint32_t>(experts);
  weight->rows_ = first.rows;
  weight->columns_ = first.columns;
  weight->row_bytes_ = hadal::row_bytes(first.type, first.columns);
  weight->pieces_.assign(source.pieces.begin(), source.pieces.end());
  if (source.use == WeightUse::kVector) {
    if (experts != 1 || first.rows != 1) {
      return fail("{}: a vector has one row, not {} x {}", source.name, experts, first.rows);
    }
    weight->vector_.resize(first.columns);
    weight->decode_row(weight->expert(0), 0, weight->vector_.data());
  }
  return weight;
}

Result<LoadedWeight> MappedWeight::load(Device& device, const WeightSource& source) {
  HADAL_TRY(auto weight, create(source));
  LoadedWeight loaded;
  loaded.view = Weight{.device = &device,
                       .type = weight->type_,
                       .experts = weight->experts_,
                       .rows = weight->rows_,
                       .columns = weight->columns_,
                       .data = weight.get(),
                       .scales = weight->scales()};
  loaded.memory = std::move(weight);
  return loaded;
}

const ScaleGrid* MappedWeight::scales() const {
  return pieces_.front().scales.data == nullptr ? nullptr : &pieces_.front().scales;
}

MappedWeight::Matrix MappedWeight::expert(uint32_t index) const {
  CHECK(index < experts_);
  const WeightPiece* piece = pieces_.data();
  for (; index >= piece->experts; ++piece) index -= piece->experts;
  Matrix matrix{piece->data.data() + size_t{index} * rows_ * row_bytes_, piece->scales};
  if (matrix.scales.data != nullptr) {  // an expert has a grid of its own, one behind the other
    matrix.scales.data += size_t{index} * divide_up(rows_, matrix.scales.rows_per_scale) *
                          divide_up(columns_, matrix.scales.columns_per_scale);
  }
  return matrix;
}

void MappedWeight::decode_row(const Matrix& matrix, uint32_t row, float* values) const {
  quant_format(type_).decode(matrix.data + row * row_bytes_, values, columns_);
  const ScaleGrid& grid = matrix.scales;
  if (grid.data == nullptr) return;
  const float* scales =
      grid.data + row / grid.rows_per_scale * divide_up(columns_, grid.columns_per_scale);
  for (uint32_t column = 0; column < columns_; ++column) {
    values[column] *= scales[column / grid.columns_per_scale];
  }
}

Tensor MappedWeight::tensor(QuantType, uint32_t, uint32_t, size_t) {
  CHECK(!"a weight has no tensors");
  return {};
}

}  // namespace hadal
