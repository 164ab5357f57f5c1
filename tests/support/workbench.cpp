#include "support/workbench.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/float_types.h"
#include "base/sizes.h"
#include "quant/blocks.h"

namespace hadal {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

f16 random_scale(Random& random, float magnitude) {
  const uint32_t kind = random() % 16;
  if (kind == 0) return 0;
  const float factor = std::uniform_real_distribution<float>(0.5f, 1.5f)(random);
  return float_to_f16(magnitude * factor * (kind < 4 ? -1.0f : 1.0f));
}

template <typename Block>
void set_scales(std::vector<std::byte>& bytes, Random& random, float magnitude) {
  for (size_t i = 0; i < bytes.size(); i += sizeof(Block)) {
    Block block;
    std::memcpy(&block, bytes.data() + i, sizeof(Block));
    block.scale = random_scale(random, magnitude);
    if constexpr (requires { block.minimum; }) block.minimum = random_scale(random, magnitude);
    std::memcpy(bytes.data() + i, &block, sizeof(Block));
  }
}

// IQ1_M keeps its scale's bits in the upper four of four numbers.
void set_split_scales(std::vector<std::byte>& bytes, Random& random, float magnitude) {
  for (size_t i = 0; i < bytes.size(); i += sizeof(BlockIQ1_M)) {
    BlockIQ1_M block;
    std::memcpy(&block, bytes.data() + i, sizeof(block));
    const uint32_t scale = random_scale(random, magnitude);
    for (int j = 0; j < 4; ++j) {
      const uint32_t four_bits = (scale >> (4 * j)) & 15;
      block.scales[j] = static_cast<uint16_t>((block.scales[j] & 0x0fff) | (four_bits << 12));
    }
    std::memcpy(bytes.data() + i, &block, sizeof(block));
  }
}

// Random bytes are any block but for its scale, which must be an ordinary number.
void make_sane(QuantType type, std::vector<std::byte>& bytes, Random& random, float magnitude) {
  switch (type) {
    case QuantType::kF32:
    case QuantType::kF16:
    case QuantType::kBF16:
    case QuantType::kI32:
      break;  // not made of random bytes
    case QuantType::kF8_E4M3:
      for (std::byte& byte : bytes) {
        if ((byte & std::byte{0x7f}) == std::byte{0x7f}) byte = std::byte{0x30};  // no NaN
      }
      break;
    case QuantType::kQ4_0:
      return set_scales<BlockQ4_0>(bytes, random, magnitude);
    case QuantType::kQ4_1:
      return set_scales<BlockQ4_1>(bytes, random, magnitude);
    case QuantType::kQ5_0:
      return set_scales<BlockQ5_0>(bytes, random, magnitude);
    case QuantType::kQ5_1:
      return set_scales<BlockQ5_1>(bytes, random, magnitude);
    case QuantType::kQ8_0:
      return set_scales<BlockQ8_0>(bytes, random, magnitude);
    case QuantType::kQ2_K:
      return set_scales<BlockQ2_K>(bytes, random, magnitude);
    case QuantType::kQ3_K:
      return set_scales<BlockQ3_K>(bytes, random, magnitude);
    case QuantType::kQ4_K:
      return set_scales<BlockQ4_K>(bytes, random, magnitude);
    case QuantType::kQ5_K:
      return set_scales<BlockQ5_K>(bytes, random, magnitude);
    case QuantType::kQ6_K:
      return set_scales<BlockQ6_K>(bytes, random, magnitude);
    case QuantType::kIQ1_S:
      return set_scales<BlockIQ1_S>(bytes, random, magnitude);
    case QuantType::kIQ2_XXS:
      return set_scales<BlockIQ2_XXS>(bytes, random, magnitude);
    case QuantType::kIQ2_XS:
      return set_scales<BlockIQ2_XS>(bytes, random, magnitude);
    case QuantType::kIQ2_S:
      return set_scales<BlockIQ2_S>(bytes, random, magnitude);
    case QuantType::kIQ3_XXS:
      return set_scales<BlockIQ3_XXS>(bytes, random, magnitude);
    case QuantType::kIQ3_S:
      return set_scales<BlockIQ3_S>(bytes, random, magnitude);
    case QuantType::kIQ1_M:
      return set_split_scales(bytes, random, magnitude);
    case QuantType::kIQ4_NL:
      return set_scales<BlockIQ4_NL>(bytes, random, magnitude);
    case QuantType::kIQ4_XS:
      return set_scales<BlockIQ4_XS>(bytes, random, magnitude);
    case QuantType::kMXFP4:
      for (size_t i = 0; i < bytes.size(); i += sizeof(BlockMXFP4)) {
        const int exponent = static_cast<int>(std::log2(magnitude)) + 126 + int(random() % 4);
        bytes[i] = static_cast<std::byte>(exponent);
      }
      break;
  }
}

void encode_floats(StoredWeight& weight) {
  for (size_t i = 0; i < weight.decoded.values.size(); ++i) {
    const float value = weight.decoded.values[i];
    std::byte* to = weight.bytes.data() + i * row_bytes(weight.type, 1);
    if (weight.type == QuantType::kF32) std::memcpy(to, &value, sizeof(value));
    const uint16_t half =
        weight.type == QuantType::kF16 ? float_to_f16(value) : float_to_bf16(value);
    if (weight.type != QuantType::kF32) std::memcpy(to, &half, sizeof(half));
  }
}

bool is_plain_float(QuantType type) {
  return type == QuantType::kF32 || type == QuantType::kF16 || type == QuantType::kBF16;
}

}  // namespace

Matrix random_matrix(Random& random, uint32_t rows, uint32_t columns, float deviation) {
  Matrix matrix{rows, columns, std::vector<float>(size_t{rows} * columns)};
  std::normal_distribution<float> normal(0.0f, deviation);
  for (float& value : matrix.values) value = normal(random);
  return matrix;
}

Matrix kept_by_cache(QuantType type, const Matrix& rows) {
  Matrix kept = rows;
  for (size_t i = 0; i < kept.values.size(); ++i) {
    float& value = kept.values[i];
    if (type == QuantType::kF16) value = f16_to_float(float_to_f16(value));
    if (type == QuantType::kBF16) value = bf16_to_float(float_to_bf16(value));
    if (type != QuantType::kQ8_0 && type != QuantType::kQ4_0) continue;
    const size_t row = i / rows.columns * rows.columns, first = row + i % rows.columns / 32 * 32;
    float greatest = 0;
    for (size_t k = first; k < std::min<size_t>(first + 32, row + rows.columns); ++k) {
      if (std::abs(rows.values[k]) > std::abs(greatest)) greatest = rows.values[k];
    }
    if (greatest == 0) {
      value = 0;
    } else if (type == QuantType::kQ8_0) {
      greatest = std::abs(greatest);
      value = std::nearbyint(value * (127.0f / greatest)) *
              f16_to_float(float_to_f16(greatest / 127.0f));
    } else {
      const float scale = greatest / -8.0f;
      const float number = std::min(15.0f, std::floor(value * (1.0f / scale) + 8.5f));
      value = (number - 8) * f16_to_float(float_to_f16(scale));
    }
  }
  return kept;
}

StoredWeight random_weight(Random& random, QuantType type, uint32_t rows, uint32_t columns,
                           float magnitude) {
  StoredWeight weight{.type = type, .decoded = random_matrix(random, rows, columns, magnitude)};
  weight.bytes.resize(rows * row_bytes(type, columns));
  if (is_plain_float(type)) {
    encode_floats(weight);
  } else {
    for (std::byte& byte : weight.bytes) byte = static_cast<std::byte>(random());
    make_sane(type, weight.bytes, random, magnitude);
  }
  quant_format(type).decode(weight.bytes.data(), weight.decoded.values.data(),
                            weight.decoded.values.size());
  return weight;
}

StoredWeight random_scaled_weight(Random& random, uint32_t rows, uint32_t columns,
                                  uint32_t rows_per_scale, uint32_t columns_per_scale) {
  StoredWeight weight = random_weight(random, QuantType::kF8_E4M3, rows, columns);
  weight.rows_per_scale = rows_per_scale;
  weight.columns_per_scale = columns_per_scale;
  const size_t grid_columns = divide_up(columns, columns_per_scale);
  weight.scales.resize(divide_up(rows, rows_per_scale) * grid_columns);
  std::uniform_real_distribution<float> uniform(1e-4f, 1e-3f);
  for (float& scale : weight.scales) scale = uniform(random);
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t column = 0; column < columns; ++column) {
      weight.decoded.at(row, column) *=
          weight.scales[row / rows_per_scale * grid_columns + column / columns_per_scale];
    }
  }
  return weight;
}

StoredWeight stored_vector(QuantType type, std::span<const float> values) {
  CHECK(is_plain_float(type));
  StoredWeight weight{.type = type,
                      .decoded = {1, static_cast<uint32_t>(values.size()),
                                  std::vector<float>(values.begin(), values.end())}};
  weight.bytes.resize(row_bytes(type, values.size()));
  encode_floats(weight);
  quant_format(type).decode(weight.bytes.data(), weight.decoded.values.data(), values.size());
  return weight;
}

Tensor Workbench::blank(uint32_t rows, uint32_t columns, uint32_t stride) {
  if (stride == 0) stride = columns;
  buffers_.push_back(require(device_.allocate(size_t{rows} * stride * sizeof(float))));
  Tensor whole = buffers_.back()->tensor(QuantType::kF32, rows, stride);
  const std::vector<float> poison(size_t{rows} * stride, kNan);
  device_.write(poison.data(), whole);
  Tensor view = whole;
  view.columns = columns;
  if (stride != columns) strided_.push_back({whole, columns});
  return view;
}

Tensor Workbench::blank_of(QuantType type, uint32_t rows, uint32_t columns) {
  if (type == QuantType::kF32) return blank(rows, columns);
  const size_t bytes = rows * row_bytes(type, columns);
  buffers_.push_back(require(device_.allocate(bytes)));
  const Tensor tensor = buffers_.back()->tensor(type, rows, columns);
  const std::vector<std::byte> poison(bytes, std::byte{0xff});
  device_.write(poison.data(), tensor);
  return tensor;
}

Tensor Workbench::whole_numbers(uint32_t rows, uint32_t columns, std::span<const int32_t> values) {
  CHECK(values.size() == size_t{rows} * columns);
  const Tensor tensor = blank_of(QuantType::kI32, rows, columns);
  device_.write(values.data(), tensor);
  return tensor;
}

Tensor Workbench::tensor(const Matrix& values, uint32_t stride) {
  const Tensor tensor = blank(values.rows, values.columns, stride);
  device_.write(values.values.data(), tensor);
  return tensor;
}

Weight Workbench::load(const StoredWeight& weight, WeightUse use) {
  const WeightPiece piece{.type = weight.type,
                          .experts = 1,
                          .rows = weight.decoded.rows,
                          .columns = weight.decoded.columns,
                          .data = weight.bytes,
                          .scales = {weight.scales.empty() ? nullptr : weight.scales.data(),
                                     weight.rows_per_scale, weight.columns_per_scale}};
  weights_.push_back(
      require(device_.upload({.name = "test weight", .use = use, .pieces = {&piece, 1}})));
  return weights_.back().view;
}

Weight Workbench::matrix(const StoredWeight& weight) {
  return load(weight, WeightUse::kMatrix);
}
Weight Workbench::vector(const StoredWeight& weight) {
  return load(weight, WeightUse::kVector);
}

Weight Workbench::stack(std::span<const StoredWeight> experts, Stacking stacking) {
  const auto piece_of = [](const StoredWeight& weight, uint32_t count) -> WeightPiece {
    return {.type = weight.type,
            .experts = count,
            .rows = weight.decoded.rows,
            .columns = weight.decoded.columns,
            .data = weight.bytes,
            .scales = {weight.scales.empty() ? nullptr : weight.scales.data(),
                       weight.rows_per_scale, weight.columns_per_scale}};
  };
  std::vector<WeightPiece> pieces;
  if (stacking == Stacking::kPieces) {
    for (const StoredWeight& weight : experts) pieces.push_back(piece_of(weight, 1));
  } else {
    StoredWeight& whole = *stacks_.emplace_back(std::make_unique<StoredWeight>(experts.front()));
    for (const StoredWeight& weight : experts.subspan(1)) {
      whole.bytes.insert(whole.bytes.end(), weight.bytes.begin(), weight.bytes.end());
      whole.scales.insert(whole.scales.end(), weight.scales.begin(), weight.scales.end());
    }
    pieces.push_back(piece_of(whole, static_cast<uint32_t>(experts.size())));
  }
  weights_.push_back(require(device_.upload({.name = "test stack", .pieces = pieces})));
  return weights_.back().view;
}

Result<std::vector<float>> Workbench::finish(const Tensor& tensor) {
  std::vector<float> values(size_t{tensor.rows} * tensor.columns);
  if (tensor.type == QuantType::kI32) {
    std::vector<int32_t> whole(values.size());
    device_.read(tensor, whole.data());
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(whole[i]);
  } else {
    CHECK(is_cache_type(tensor.type));
    std::vector<std::byte> bytes(tensor.rows * row_bytes(tensor.type, tensor.columns));
    device_.read(tensor, bytes.data());
    quant_format(tensor.type).decode(bytes.data(), values.data(), values.size());
  }
  HADAL_TRY_VOID(device_.wait());
  for (const Strided& strided : strided_) {
    const Tensor& whole = strided.whole;
    std::vector<float> all(size_t{whole.rows} * whole.columns);
    device_.read(whole, all.data());
    for (uint32_t row = 0; row < whole.rows; ++row) {
      for (uint32_t column = strided.columns; column < whole.columns; ++column) {
        if (!std::isnan(all[size_t{row} * whole.columns + column])) {
          return fail("written between rows: row {}, column {}", row, column);
        }
      }
    }
  }
  return values;
}

}  // namespace hadal
