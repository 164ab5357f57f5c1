// The reference device's matrix product. Each row of a weight is decoded once a batch; every
// (token, row) sum is one chain of double additions in the order of the columns. Tiles of tokens
// and rows only run such chains side by side, which changes no bit of any of them.
#include <algorithm>

#include "device/device.h"
#include "device/mapped_weight.h"
#include "device/reference/reference_ops.h"

namespace hadal {
namespace {

constexpr uint32_t kTileTokens = 4;
constexpr uint32_t kTileRows = 4;
constexpr uint32_t kRowsAtOnce = 16;  // decoded, then multiplied by all tokens; whole tiles

struct Sums {
  double of[kTileRows][kTileTokens];
};

// rows: [columns][kTileRows], inputs: [columns][kTileTokens].
Sums multiply_tile(const double* rows, const double* inputs, uint32_t columns) {
  Sums sums = {};
  for (uint32_t column = 0; column < columns; ++column) {
    for (uint32_t row = 0; row < kTileRows; ++row) {
      for (uint32_t token = 0; token < kTileTokens; ++token) {
        sums.of[row][token] += rows[row] * inputs[token];
      }
    }
    rows += kTileRows;
    inputs += kTileTokens;
  }
  return sums;
}

}  // namespace

void ReferenceOps::matmul(const MatmulArgs& args) {
  check(args.in);
  const uint32_t tokens = args.in.rows, columns = args.in.columns;
  const uint32_t tiles = (tokens + kTileTokens - 1) / kTileTokens;
  inputs_.assign(size_t{tiles} * kTileTokens * columns, 0.0);
  for (uint32_t token = 0; token < tokens; ++token) {
    const float* in = static_cast<const float*>(args.in.data) + size_t{token} * args.in.row_stride;
    double* tile = inputs_.data() + size_t{token / kTileTokens} * kTileTokens * columns;
    for (uint32_t column = 0; column < columns; ++column) {
      tile[size_t{column} * kTileTokens + token % kTileTokens] = in[column];
    }
  }
  row_.resize(pool_.threads());
  rows_.resize(pool_.threads());
  for (uint32_t thread = 0; thread < pool_.threads(); ++thread) {
    row_[thread].resize(columns);
    rows_[thread].resize(size_t{kRowsAtOnce} * columns);
  }
  for (const Projection& projection : args.projections) {
    project(projection, tokens, columns, args.store);
  }
}

void ReferenceOps::project(const Projection& projection, uint32_t tokens, uint32_t columns,
                           Store store) {
  check(projection.weight);
  check(projection.out);
  const MappedWeight& weight = MappedWeight::of(projection.weight);
  const Tensor& out = projection.out;
  CHECK(weight.columns() == columns && weight.experts() == 1);
  CHECK(out.rows == tokens && out.columns == weight.rows());
  const float* bias = nullptr;
  if (projection.bias) {
    check(projection.bias);
    const auto values = MappedWeight::of(projection.bias).vector();
    CHECK(values.size() == weight.rows());
    bias = values.data();
  }
  const MappedWeight::Matrix matrix = weight.expert(0);
  const size_t work = size_t{weight.rows()} * columns * std::max(tokens, 2u);
  parallel(weight.rows(), kRowsAtOnce, work, [&](size_t first, size_t last, uint32_t thread) {
    float* decoded = row_[thread].data();
    double* rows = rows_[thread].data();  // [kRowsAtOnce / kTileRows][columns][kTileRows]
    for (size_t group = first; group < last; group += kRowsAtOnce) {
      const uint32_t count = static_cast<uint32_t>(std::min<size_t>(kRowsAtOnce, last - group));
      for (uint32_t row = 0; row < count; ++row) {
        weight.decode_row(matrix, static_cast<uint32_t>(group + row), decoded);
        double* to = rows + size_t{row / kTileRows} * kTileRows * columns + row % kTileRows;
        for (uint32_t column = 0; column < columns; ++column) {
          to[size_t{column} * kTileRows] = decoded[column];
        }
      }
      for (uint32_t token = 0; token < tokens; token += kTileTokens) {
        for (uint32_t row = 0; row < count; row += kTileRows) {
          const Sums sums = multiply_tile(rows + size_t{row} * columns,
                                          inputs_.data() + size_t{token} * columns, columns);
          for (uint32_t t = 0; t < std::min(kTileTokens, tokens - token); ++t) {
            float* to = static_cast<float*>(out.data) + size_t{token + t} * out.row_stride + group;
            for (uint32_t r = row; r < std::min(row + kTileRows, count); ++r) {
              double sum = sums.of[r - row][t];
              if (bias != nullptr) sum += double{bias[group + r]};
              if (store == Store::kAdd) sum += double{to[r]};
              to[r] = static_cast<float>(sum);
            }
          }
        }
      }
    }
  });
}

}  // namespace hadal
