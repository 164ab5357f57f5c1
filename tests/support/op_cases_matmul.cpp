#include <algorithm>
#include <cmath>
#include <memory>

#include "support/op_cases.h"
#include "support/workbench.h"

namespace hadal {
namespace {

// An outlier's weights have 13 bits or more: so many times as far off as in float32.
constexpr double kRoundedWeight = 40;
constexpr uint32_t kScaleBlock = 256;  // columns; the longest run of activations that share a step

struct MatmulCase {
  Matrix in;
  uint32_t in_stride = 0, out_stride = 0;  // 0: packed
  std::vector<StoredWeight> weights;
  std::vector<StoredWeight> biases;  // none, or one a weight
  Store store = Store::kReplace;
  std::vector<Matrix> old;  // with kAdd: what out holds
  // Each token's input is one number in one column: every output is one weight times it.
  bool one_column = false;
};

Projections projections(const std::vector<Projection>& list) {
  switch (list.size()) {
    case 1:
      return {list[0]};
    case 2:
      return {list[0], list[1]};
    case 3:
      return {list[0], list[1], list[2]};
    default:
      CHECK(list.size() == 4);
      return {list[0], list[1], list[2], list[3]};
  }
}

Result<std::vector<float>> run_matmul(const MatmulCase& c, Device& device) {
  Workbench bench(device);
  std::vector<Projection> list;
  for (size_t i = 0; i < c.weights.size(); ++i) {
    const Weight bias = c.biases.empty() ? Weight{} : bench.vector(c.biases[i]);
    const Tensor out = c.store == Store::kAdd
                           ? bench.tensor(c.old[i], c.out_stride)
                           : bench.blank(c.in.rows, c.weights[i].decoded.rows, c.out_stride);
    list.push_back({bench.matrix(c.weights[i]), bias, out});
  }
  device.ops().matmul({bench.tensor(c.in, c.in_stride), projections(list), c.store});
  std::vector<float> all;
  for (const Projection& projection : list) {
    HADAL_TRY(const auto values, bench.finish(projection.out));
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

double greatest_of(std::span<const float> values) {
  double greatest = 0;
  for (const float value : values) greatest = std::max(greatest, std::abs(double{value}));
  return greatest;
}

double one_column_scale(std::span<const float> in, std::span<const float> weight) {
  return greatest_of(in) * greatest_of(weight);
}

OpExpectation expect_matmul(const MatmulCase& c) {
  OpExpectation expected;
  for (size_t i = 0; i < c.weights.size(); ++i) {
    const Matrix& weight = c.weights[i].decoded;
    for (uint32_t token = 0; token < c.in.rows; ++token) {
      for (uint32_t row = 0; row < weight.rows; ++row) {
        double sum = 0, beside = 0;
        for (uint32_t column = 0; column < weight.columns; ++column) {
          sum += double{weight.at(row, column)} * double{c.in.at(token, column)};
        }
        if (!c.biases.empty()) {
          const double bias = c.biases[i].decoded.values[row];
          sum += bias;
          beside += std::abs(bias);
        }
        if (c.store == Store::kAdd) {
          const double old = c.old[i].at(token, row);
          sum += old;
          beside += std::abs(old);
        }
        expected.values.push_back(sum);
        const double scale = c.one_column ? one_column_scale(c.in.row(token), weight.row(row))
                                          : product_scale(c.in.row(token), weight.row(row));
        expected.scales.push_back(scale + beside);
        if (c.in.rows <= kShortStepTokens) continue;
        const auto rounded = [&](Steps steps, double one_column) {
          if (c.one_column) return one_column * scale + beside;
          if (quant_format(c.weights[i].type).block_values == 1) return scale + beside;
          return product_scale(c.in.row(token), weight.row(row), steps) + beside;
        };
        expected.rounded.push_back(rounded(Steps::kLong, 1));
        expected.rounded_weights.push_back(rounded(Steps::kLongOfBytes, kRoundedWeight));
      }
    }
  }
  return expected;
}

struct MatmulList {
  std::vector<OpCase> cases;
  Random random{21};

  void add(MatmulCase made, std::string_view what) {
    const auto c = std::make_shared<const MatmulCase>(std::move(made));
    std::string name = fmt::format("{} tokens", c->in.rows);
    bool is_float = true;
    for (const StoredWeight& weight : c->weights) {
      const QuantFormat& format = quant_format(weight.type);
      name += fmt::format(", {} {} x {}", format.name, weight.decoded.rows, weight.decoded.columns);
      is_float = is_float && format.block_values == 1;
    }
    name += fmt::format(", strides {} {}{}{}, {}", c->in_stride, c->out_stride,
                        c->biases.empty() ? "" : ", bias", c->store == Store::kAdd ? ", add" : "",
                        what);
    const std::string_view bound = c->one_column ? "matmul one column"
                                   : is_float    ? "matmul float"
                                                 : "matmul quantized";
    cases.push_back({"matmul", std::move(name), bound,
                     [c](Device& device) { return run_matmul(*c, device); },
                     [c] { return expect_matmul(*c); }, c->in.rows});
  }

  void add_plain(QuantType type, uint32_t tokens, uint32_t rows, uint32_t columns,
                 float magnitude = 0.01f) {
    add({.in = random_matrix(random, tokens, columns),
         .weights = {random_weight(random, type, rows, columns, magnitude)}},
        magnitude == 0.01f ? "random" : fmt::format("magnitude {}", magnitude));
  }

  void add_one_column(QuantType type, uint32_t rows, uint32_t columns) {
    MatmulCase one{.in = {columns, columns, std::vector<float>(size_t{columns} * columns, 0.0f)},
                   .weights = {random_weight(random, type, rows, columns)},
                   .one_column = true};
    for (uint32_t i = 0; i < columns; ++i) {
      one.in.at(i, i) = i % 3 == 0 ? -1.0f : 0.37f * static_cast<float>(i % 7 + 1);
    }
    add(std::move(one), "one column");
  }

  StoredWeight bias(uint32_t rows) {
    return stored_vector(QuantType::kF32, random_matrix(random, 1, rows).values);
  }
};

void add_every_format(MatmulList& list) {
  for (const QuantFormat& format : quant_formats()) {
    const QuantType type = format.type;
    const uint32_t block = format.block_values;
    if (block == 1) {
      for (const uint32_t columns : {1u, 7u, 20u, 33u, 100u, 255u, 576u}) {
        list.add_plain(type, 1, 19, columns);
        list.add_plain(type, 6, 5, columns);
      }
    }
    const uint32_t unit = block == 1 ? 32 : block;
    list.add_plain(type, 1, 33, unit);
    list.add_plain(type, 1, 1, 3 * unit);
    list.add_plain(type, 2, 7, 3 * unit);
    list.add_plain(type, 5, 64, 5 * unit);
    list.add_plain(type, 70, 40, 2 * unit);
    list.add_plain(type, 1, 130, 7 * unit, 2e-6f);  // f16 scales below their normal range
    list.add_plain(type, 3, 130, 7 * unit, 3.0f);
    list.add_one_column(type, 21, 2 * unit);
  }
}

// Where a device changes its way of working: one token, a few, many.
void add_token_counts(MatmulList& list) {
  for (const QuantType type : {QuantType::kF32, QuantType::kF16, QuantType::kQ8_0, QuantType::kQ4_0,
                               QuantType::kQ4_K, QuantType::kQ6_K}) {
    for (const uint32_t tokens : {2u, 3u, 4u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 32u, 33u, 64u}) {
      list.add_plain(type, tokens, 37, 256);
    }
    list.add_plain(type, 1, 300, 1536);
    list.add_plain(type, 9, 48, 4096);
  }
}

void add_projections(MatmulList& list) {
  Random& random = list.random;
  for (const QuantType type : {QuantType::kF32, QuantType::kQ8_0, QuantType::kQ4_K}) {
    for (const uint32_t tokens : {1u, 5u, 33u}) {
      const auto weight = [&](uint32_t rows) { return random_weight(random, type, rows, 256); };
      list.add({.in = random_matrix(random, tokens, 256),
                .weights = {weight(24), weight(8), weight(8)},
                .biases = {list.bias(24), list.bias(8), list.bias(8)}},
               "query, key, value");
      list.add({.in = random_matrix(random, tokens, 256), .weights = {weight(50), weight(50)}},
               "gate and up");
      list.add({.in = random_matrix(random, tokens, 256),
                .weights = {weight(1), weight(17), weight(3), weight(64)}},
               "four");
      list.add({.in = random_matrix(random, tokens, 256),
                .weights = {weight(31)},
                .store = Store::kAdd,
                .old = {random_matrix(random, tokens, 31)}},
               "residual");
      list.add({.in = random_matrix(random, tokens, 256),
                .in_stride = 300,
                .out_stride = 41,
                .weights = {weight(31), weight(40)},
                .biases = {list.bias(31), list.bias(40)},
                .store = Store::kAdd,
                .old = {random_matrix(random, tokens, 31), random_matrix(random, tokens, 40)}},
               "strided residual");
    }
  }
  // Files mix formats within a layer.
  list.add({.in = random_matrix(random, 3, 256),
            .weights = {random_weight(random, QuantType::kQ4_K, 16, 256),
                        random_weight(random, QuantType::kF32, 16, 256),
                        random_weight(random, QuantType::kQ6_K, 9, 256)}},
           "mixed formats");
  list.add({.in = random_matrix(random, 1, 64),
            .weights = {random_weight(random, QuantType::kBF16, 6, 64)},
            .biases = {stored_vector(QuantType::kBF16, random_matrix(random, 1, 6).values)}},
           "bf16 bias");
}

// More columns and tokens than a device may take at once, with values that stand out everywhere.
void add_wide(MatmulList& list) {
  Random& random = list.random;
  for (const QuantType type : {QuantType::kQ4_0, QuantType::kQ8_0, QuantType::kQ4_K,
                               QuantType::kQ6_K, QuantType::kIQ3_S}) {
    for (const auto& [tokens, columns] : {std::pair{20u, 2304u}, std::pair{300u, 4352u}}) {
      Matrix in = random_matrix(random, tokens, columns);
      for (uint32_t token = 0; token < tokens; ++token) {
        for (uint32_t i = token % 97; i < columns; i += 97 + token) in.at(token, i) *= 30;
      }
      list.add({.in = in,
                .weights = {random_weight(random, type, 37, columns)},
                .biases = {list.bias(37)},
                .store = Store::kAdd,
                .old = {random_matrix(random, tokens, 37)}},
               "wide, outliers");
    }
  }
}

void add_scale_grids(MatmulList& list) {
  struct Grid {
    uint32_t rows, columns, rows_per_scale, columns_per_scale;
  };
  for (const Grid& grid : {Grid{256, 256, 128, 128}, Grid{150, 200, 128, 128}, Grid{5, 7, 128, 128},
                           Grid{130, 129, 128, 128}, Grid{9, 33, 4, 16}, Grid{7, 40, 1, 40}}) {
    for (const uint32_t tokens : {1u, 6u, 34u}) {
      list.add({.in = random_matrix(list.random, tokens, grid.columns),
                .weights = {random_scaled_weight(list.random, grid.rows, grid.columns,
                                                 grid.rows_per_scale, grid.columns_per_scale)}},
               fmt::format("scales of {} x {}", grid.rows_per_scale, grid.columns_per_scale));
    }
  }
}

void add_extreme_inputs(MatmulList& list) {
  Random& random = list.random;
  for (const QuantType type :
       {QuantType::kF32, QuantType::kF16, QuantType::kBF16, QuantType::kQ4_0, QuantType::kQ4_1,
        QuantType::kQ8_0, QuantType::kQ4_K, QuantType::kIQ4_NL, QuantType::kMXFP4}) {
    for (const uint32_t tokens : {1u, 4u, 20u}) {
      Matrix outliers = random_matrix(random, tokens, 512);
      for (uint32_t token = 0; token < tokens; ++token) outliers.at(token, 17 + token) = 900.0f;
      list.add({.in = outliers, .weights = {random_weight(random, type, 20, 512)}}, "outliers");
      Matrix zero_rows = random_matrix(random, tokens, 256);
      std::fill_n(zero_rows.values.end() - 256, 256, 0.0f);
      list.add({.in = zero_rows, .weights = {random_weight(random, type, 20, 256)}}, "a zero row");
      Matrix zero_block = random_matrix(random, tokens, 512);
      std::fill_n(zero_block.values.begin(), 256, 0.0f);
      list.add({.in = zero_block, .weights = {random_weight(random, type, 20, 512)}},
               "a zero block");
      for (const float magnitude : {1e-18f, 1e-7f, 1e6f, 1e18f}) {
        list.add({.in = random_matrix(random, tokens, 256, magnitude),
                  .weights = {random_weight(random, type, 20, 256)}},
                 fmt::format("inputs of {}", magnitude));
      }
    }
  }
}

}  // namespace

double product_scale(std::span<const float> in, std::span<const float> weight, Steps steps) {
  double sum = 0;
  for (size_t start = 0; start < in.size(); start += kScaleBlock) {
    const size_t end = std::min(in.size(), start + kScaleBlock);
    double greatest = 0, total = 0, squares = 0, greatest_weight = 0;
    for (size_t i = start; i < end; ++i) {
      greatest = std::max(greatest, std::abs(double{in[i]}));
      total += std::abs(double{in[i]});
      squares += double{weight[i]} * double{weight[i]};
      greatest_weight = std::max(greatest_weight, std::abs(double{weight[i]}));
    }
    if (steps == Steps::kShort) {
      sum += greatest * greatest * squares;
      continue;
    }
    const double mean = total / static_cast<double>(end - start);
    const double size = std::max(greatest, 128 * std::min(greatest, 5 * mean));
    sum += size * size * squares;
    if (steps == Steps::kLong) continue;
    double lesser = 0;  // squares of the values that are no outliers, which meet rounded weights
    for (size_t i = start; i < end; ++i) {
      const double value = std::min(std::abs(double{in[i]}), 8 * mean);
      lesser += value * value;
    }
    const double weight_size = 128 * 1.15 * greatest_weight;
    sum += weight_size * weight_size * lesser;
  }
  return std::sqrt(sum);
}

std::vector<OpCase> matmul_cases() {
  MatmulList list;
  add_every_format(list);
  add_token_counts(list);
  add_projections(list);
  add_wide(list);
  add_scale_grids(list);
  add_extreme_inputs(list);
  return std::move(list.cases);
}

}  // namespace hadal
