#include "support/op_cases.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "support/workbench.h"

namespace hadal {
namespace {

// What each row of the table covers, and why it is as wide as it is. float32 carries 2^-24 = 6e-8.
struct BoundRow {
  std::string_view key;
  OpBound reference, float32;
};
constexpr BoundRow kBounds[] = {
    // Bytes are moved, or decoded by definition: no freedom.
    {"exact", {0, 0}, {0, 0}},
    // Relative to the output. Reference: one rounding. float32: a mean of up to a few thousand
    // squares in lanes, a square root, three products.
    {"rms_norm", {6e-8, 1.3e-7}, {3e-7, 1e-6}},
    // Relative to the pair's length x magnitude. Angles must be formed in more than float32 (or
    // reduced first): position x frequency in float32 alone is 8e-3 wrong at position 131,071.
    {"rope", {6e-8, 1.3e-7}, {2e-7, 1e-6}},
    // Relative to the output. A fast exp of a few units in the last place.
    {"swiglu", {6e-8, 1.3e-7}, {3e-7, 1.5e-6}},
    // Scale: root of the sum over blocks of 256 columns of (greatest |x|)^2 |w|^2, + |bias| +
    // |old|.
    // float32: sums of up to 4096 products in lanes.
    {"matmul float", {6e-8, 3e-7}, {3e-7, 1.5e-6}},
    // Activations of two int8 digits by blocks of at most 256: a step is greatest / 16256 (of more
    // than eight tokens longer: product_scale counts in steps), its rounding is uniform, so the
    // error of a sum has standard deviation scale / 16256 / sqrt(12) =
    // 1.8e-5 scale at most, and of thousands of outputs none strays further than six of those. The
    // rows of one token share its rounding: the mean over n tokens may stray by 3 / sqrt(n) of the
    // deviation.
    {"matmul quantized", {6e-8, 3e-7}, {1.8e-5, 1.1e-4, true}},
    // One column of the input is not zero: int8 holds it exactly, and each output is one weight.
    // Scale: the greatest weight of the row x the input.
    {"matmul one column", {8e-8, 3e-7}, {1e-6, 4e-6}},
    // Of the chosen experts nothing is left open; their weights are relative to themselves.
    {"route", {6e-8, 1.3e-7}, {2e-7, 1e-6}},
    // Scale: |old| + the sum over a token's experts of |weight| x (the matmul scale of down + what
    // the matmul scales of gate and up become behind it). The hidden values are rounded, too.
    {"experts float", {6e-8, 4e-7}, {3e-7, 3e-6}},
    // As of matmul; the sum over experts is of absolute values.
    {"experts quantized", {6e-8, 4e-7}, {1.8e-5, 1.1e-4, true}},
    // Scale: the size of V_h latent x (1 + that of the score), of the greatest position; a size is
    // the root of the sum of the products' squares.
    {"latent float", {2e-8, 2e-7}, {3e-7, 3e-6}},
    // Here the scale has each value where matmul's has the greatest of its block, up to four times
    // as large; nobody shares it out by tokens.
    {"latent quantized", {2e-8, 2e-7}, {7.2e-5, 4.4e-4}},
    // With long steps: five times the mean / 127, where a mean is at most the root mean square.
    {"latent quantized, many", {2e-8, 2e-7}, {1.2e-2, 7e-2}},
    // Scale: greatest |value| x (1 + score scale x |query| |key|): the second part is what an error
    // of a score's last place does to its weight.
    {"attention", {5e-9, 4e-8}, {1e-7, 1e-6}},
};

using Shared = std::shared_ptr<const Matrix>;

Shared share(Matrix matrix) {
  return std::make_shared<const Matrix>(std::move(matrix));
}

OpExpectation exactly(const Matrix& matrix) {
  return {{matrix.values.begin(), matrix.values.end()},
          std::vector<double>(matrix.values.size(), 0.0)};
}

void add_embed_case(std::vector<OpCase>& cases, StoredWeight table, uint32_t stride,
                    std::string shape) {
  auto stored = std::make_shared<const StoredWeight>(std::move(table));
  std::vector<int32_t> tokens;
  const uint32_t rows = stored->decoded.rows;
  for (uint32_t i = 0; i < rows + 3; ++i) tokens.push_back(static_cast<int32_t>(i * 7 % rows));
  const auto run = [=](Device& device) -> Result<std::vector<float>> {
    Workbench bench(device);
    const Tensor out =
        bench.blank(static_cast<uint32_t>(tokens.size()), stored->decoded.columns, stride);
    device.ops().embed({bench.matrix(*stored), tokens, out});
    return bench.finish(out);
  };
  const auto expect = [=] {
    Matrix rows_of_tokens{static_cast<uint32_t>(tokens.size()), stored->decoded.columns, {}};
    for (const int32_t token : tokens) {
      const auto row = stored->decoded.row(static_cast<size_t>(token));
      rows_of_tokens.values.insert(rows_of_tokens.values.end(), row.begin(), row.end());
    }
    return exactly(rows_of_tokens);
  };
  cases.push_back({"embed", fmt::format("{} {}", quant_format(stored->type).name, shape), "exact",
                   run, expect});
}

std::vector<OpCase> embed_cases() {
  std::vector<OpCase> cases;
  Random random(11);
  for (const QuantFormat& format : quant_formats()) {
    const uint32_t columns = format.block_values == 1 ? 37 : 3u * format.block_values;
    add_embed_case(cases, random_weight(random, format.type, 29, columns), 0, "packed");
    add_embed_case(cases, random_weight(random, format.type, 5, format.block_values),
                   format.block_values + 9u, "strided");
  }
  add_embed_case(cases, random_scaled_weight(random, 150, 200, 128, 128), 0, "ragged scales");
  add_embed_case(cases, random_scaled_weight(random, 9, 33, 4, 16), 40, "small ragged scales");
  return cases;
}

struct NormShape {
  uint32_t rows, width, in_stride, out_stride;  // strides 0: packed
  bool in_place;
  float magnitude;
  QuantType gain;
};

void add_norm_case(std::vector<OpCase>& cases, const NormShape& shape, Random& random) {
  constexpr float kEpsilon = 1e-5f;
  Matrix input = random_matrix(random, shape.rows, shape.width, shape.magnitude);
  if (shape.rows > 2) std::fill_n(input.values.begin() + shape.width, shape.width, 0.0f);
  const Shared in = share(std::move(input));
  const auto gain = std::make_shared<const StoredWeight>(
      stored_vector(shape.gain, random_matrix(random, 1, shape.width).values));
  const auto run = [=](Device& device) {
    Workbench bench(device);
    const Tensor from = bench.tensor(*in, shape.in_stride);
    const Tensor to =
        shape.in_place ? from : bench.blank(shape.rows, shape.width, shape.out_stride);
    device.ops().rms_norm({from, bench.vector(*gain), kEpsilon, to});
    return bench.finish(to);
  };
  const auto expect = [=] {
    OpExpectation expected;
    for (uint32_t row = 0; row < in->rows; ++row) {
      double squares = 0;
      for (const float value : in->row(row)) squares += double{value} * double{value};
      const double root = std::sqrt(squares / in->columns + double{kEpsilon});
      for (uint32_t i = 0; i < in->columns; ++i) {
        const double value = in->at(row, i) / root * double{gain->decoded.values[i]};
        expected.values.push_back(value);
        expected.scales.push_back(std::abs(value));
      }
    }
    return expected;
  };
  cases.push_back(
      {"rms_norm",
       fmt::format("{} x {}, strides {} {}, {} gain, magnitude {}{}", shape.rows, shape.width,
                   shape.in_stride, shape.out_stride, quant_format(shape.gain).name,
                   shape.magnitude, shape.in_place ? ", in place" : ""),
       "rms_norm", run, expect});
}

std::vector<OpCase> rms_norm_cases() {
  std::vector<OpCase> cases;
  Random random(12);
  for (const uint32_t width : {1u, 7u, 20u, 32u, 64u, 100u, 576u, 1536u, 4099u}) {
    for (const uint32_t rows : {1u, 3u, 70u}) {
      add_norm_case(cases, {rows, width, 0, 0, false, 1, QuantType::kF32}, random);
    }
  }
  add_norm_case(cases, {5, 65, 80, 71, false, 1, QuantType::kF32}, random);
  add_norm_case(cases, {5, 65, 80, 0, true, 1, QuantType::kF16}, random);
  add_norm_case(cases, {4, 48, 0, 0, true, 1, QuantType::kBF16}, random);
  add_norm_case(cases, {3, 64, 0, 0, false, 1e15f, QuantType::kF32}, random);
  add_norm_case(cases, {3, 64, 0, 0, false, 1e-12f, QuantType::kF32}, random);
  add_norm_case(cases, {3, 64, 0, 0, false, 3e-3f, QuantType::kF32}, random);
  return cases;
}

struct RopeShape {
  uint32_t tokens, heads, width, pairs, stride;
  RopePairs style;
  int32_t last_position;
  float base, magnitude;
  uint32_t first = 0;
};

void add_rope_case(std::vector<OpCase>& cases, const RopeShape& shape, Random& random) {
  const Shared in = share(random_matrix(random, shape.tokens, shape.heads * shape.width));
  std::vector<int32_t> positions(shape.tokens);
  for (int32_t& position : positions) {
    position = static_cast<int32_t>(random() % (static_cast<uint32_t>(shape.last_position) + 1));
  }
  positions.front() = 0;
  positions.back() = shape.last_position;
  std::vector<float> frequencies(shape.pairs);
  for (uint32_t i = 0; i < shape.pairs; ++i) {
    frequencies[i] = std::pow(shape.base, -static_cast<float>(i) / shape.pairs);
  }
  const auto run = [=](Device& device) {
    Workbench bench(device);
    const Tensor x = bench.tensor(*in, shape.stride);
    device.ops().rope(
        {x, shape.width, shape.style, positions, frequencies, shape.magnitude, shape.first});
    return bench.finish(x);
  };
  const auto expect = [=] {
    OpExpectation expected{{in->values.begin(), in->values.end()},
                           std::vector<double>(in->values.size(), 0.0)};
    for (uint32_t token = 0; token < shape.tokens; ++token) {
      for (uint32_t head = 0; head < shape.heads; ++head) {
        for (uint32_t i = 0; i < shape.pairs; ++i) {
          const bool halves = shape.style == RopePairs::kHalves;
          const size_t start = size_t{token} * in->columns + head * shape.width + shape.first;
          const size_t first = start + (halves ? i : 2 * i);
          const size_t second = start + (halves ? i + shape.pairs : 2 * i + 1);
          const double angle = double(positions[token]) * double{frequencies[i]};
          const double a = in->values[first], b = in->values[second];
          const double magnitude = shape.magnitude;
          expected.values[first] = magnitude * (a * std::cos(angle) - b * std::sin(angle));
          expected.values[second] = magnitude * (a * std::sin(angle) + b * std::cos(angle));
          expected.scales[first] = expected.scales[second] = magnitude * std::hypot(a, b);
        }
      }
    }
    return expected;
  };
  cases.push_back({"rope",
                   fmt::format("{} tokens, {} heads of {}, {} pairs from {} ({}), stride {}, to "
                               "position {}, base {}, magnitude {}",
                               shape.tokens, shape.heads, shape.width, shape.pairs, shape.first,
                               shape.style == RopePairs::kHalves ? "halves" : "interleaved",
                               shape.stride, shape.last_position, shape.base, shape.magnitude),
                   "rope", run, expect});
}

std::vector<OpCase> rope_cases() {
  std::vector<OpCase> cases;
  Random random(13);
  for (const RopePairs style : {RopePairs::kHalves, RopePairs::kInterleaved}) {
    for (const uint32_t width : {2u, 20u, 48u, 64u, 128u}) {
      add_rope_case(cases, {1, 3, width, width / 2, 0, style, 8191, 1e4f, 1.0f}, random);
      add_rope_case(cases, {13, 9, width, width / 2, 0, style, 2048, 1e6f, 1.0f}, random);
    }
    add_rope_case(cases, {7, 2, 128, 32, 0, style, 4096, 1e4f, 1.0f}, random);  // partial
    add_rope_case(cases, {7, 2, 20, 3, 0, style, 4096, 1e4f, 1.0f}, random);
    add_rope_case(cases, {70, 4, 64, 32, 1024, style, 4096, 1e4f, 1.3f}, random);  // of a QKV
    add_rope_case(cases, {3, 1, 64, 32, 0, style, 131071, 1e4f, 1.0f}, random);    // long context
    // The last part of a head, or one in its middle.
    add_rope_case(cases, {9, 16, 192, 32, 0, style, 16384, 1e4f, 1.0f, 128}, random);
    add_rope_case(cases, {5, 3, 17, 3, 70, style, 4096, 1e4f, 1.2f, 11}, random);
    add_rope_case(cases, {4, 2, 20, 2, 0, style, 4096, 1e4f, 1.0f, 7}, random);
  }
  return cases;
}

enum class SwigluOut { kOwn, kGate, kUp };

void add_swiglu_case(std::vector<OpCase>& cases, Matrix gate_values, Matrix up_values,
                     uint32_t stride, SwigluOut place, std::string_view what) {
  const Shared gate = share(std::move(gate_values)), up = share(std::move(up_values));
  const auto run = [=](Device& device) {
    Workbench bench(device);
    const Tensor gate_tensor = bench.tensor(*gate, stride);
    const Tensor up_tensor = bench.tensor(*up, stride ? stride + 3 : 0);
    const Tensor out = place == SwigluOut::kGate ? gate_tensor
                       : place == SwigluOut::kUp ? up_tensor
                                                 : bench.blank(gate->rows, gate->columns, stride);
    device.ops().swiglu({gate_tensor, up_tensor, out});
    return bench.finish(out);
  };
  const auto expect = [=] {
    OpExpectation expected;
    for (size_t i = 0; i < gate->values.size(); ++i) {
      const double g = gate->values[i], u = up->values[i];
      const double value = g / (1.0 + std::exp(-g)) * u;
      expected.values.push_back(value);
      // Below the smallest normal float32 a device may give zero.
      expected.scales.push_back(std::abs(value) + 1e-32 * std::abs(g * u));
    }
    return expected;
  };
  cases.push_back({"swiglu",
                   fmt::format("{} x {}, stride {}, {}, {}", gate->rows, gate->columns, stride,
                               place == SwigluOut::kOwn    ? "own place"
                               : place == SwigluOut::kGate ? "into gate"
                                                           : "into up",
                               what),
                   "swiglu", run, expect});
}

std::vector<OpCase> swiglu_cases() {
  std::vector<OpCase> cases;
  Random random(14);
  for (const uint32_t width : {1u, 7u, 32u, 100u, 1536u}) {
    for (const uint32_t rows : {1u, 5u}) {
      for (const SwigluOut place : {SwigluOut::kOwn, SwigluOut::kGate, SwigluOut::kUp}) {
        add_swiglu_case(cases, random_matrix(random, rows, width, 3.0f),
                        random_matrix(random, rows, width), 0, place, "random");
      }
    }
  }
  add_swiglu_case(cases, random_matrix(random, 4, 33, 3.0f), random_matrix(random, 4, 33), 50,
                  SwigluOut::kOwn, "random");
  Matrix extremes{1,
                  17,
                  {0.0f, -0.0f, 1e-30f, -1e-30f, 10.0f, -10.0f, 80.0f, -80.0f, 87.0f, -87.0f, 89.0f,
                   -89.0f, 104.0f, -104.0f, 1e4f, -1e4f, 1e30f}};
  add_swiglu_case(cases, extremes, random_matrix(random, 1, 17), 0, SwigluOut::kOwn, "extremes");
  return cases;
}

std::vector<OpCase> gather_cases() {
  std::vector<OpCase> cases;
  Random random(15);
  struct Shape {
    uint32_t rows, columns, stride;
    std::vector<uint32_t> wanted;
  };
  std::vector<uint32_t> reversed(70);
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  for (const Shape& shape : {Shape{1, 1, 0, {0}}, Shape{9, 33, 0, {8, 0, 0, 5}},
                             Shape{70, 64, 80, reversed}, Shape{4, 576, 0, {3}}}) {
    const Shared from = share(random_matrix(random, shape.rows, shape.columns));
    const auto run = [=](Device& device) {
      Workbench bench(device);
      const Tensor to = bench.blank(static_cast<uint32_t>(shape.wanted.size()), shape.columns,
                                    shape.stride ? shape.stride + 1 : 0);
      device.ops().gather_rows({bench.tensor(*from, shape.stride), shape.wanted, to});
      return bench.finish(to);
    };
    const auto expect = [=] {
      Matrix rows{static_cast<uint32_t>(shape.wanted.size()), shape.columns, {}};
      for (const uint32_t row : shape.wanted) {
        rows.values.insert(rows.values.end(), from->row(row).begin(), from->row(row).end());
      }
      return exactly(rows);
    };
    cases.push_back({"gather_rows",
                     fmt::format("{} of {} x {}, stride {}", shape.wanted.size(), shape.rows,
                                 shape.columns, shape.stride),
                     "exact", run, expect});
  }
  return cases;
}

std::vector<OpCase> only(std::vector<OpCase> cases, std::string_view op) {
  std::erase_if(cases, [&](const OpCase& one) { return one.op != op; });
  return cases;
}

constexpr std::string_view kOpNames[] = {"embed",    "rms_norm",  "matmul",           "rope",
                                         "store_kv", "attention", "latent_attention", "swiglu",
                                         "route",    "experts",   "gather_rows"};

}  // namespace

std::span<const std::string_view> op_names() {
  return kOpNames;
}

std::vector<OpCase> op_cases(std::string_view op) {
  if (op == "embed") return embed_cases();
  if (op == "rms_norm") return rms_norm_cases();
  if (op == "matmul") return matmul_cases();
  if (op == "rope") return rope_cases();
  if (op == "swiglu") return swiglu_cases();
  if (op == "gather_rows") return gather_cases();
  if (op == "route") return route_cases();
  if (op == "experts") return experts_cases();
  if (op == "latent_attention") return latent_cases();
  return only(cache_cases(), op);
}

OpBound op_bound(const OpCase& one, Arithmetic arithmetic) {
  for (const BoundRow& row : kBounds) {
    if (row.key != one.bound) continue;
    OpBound bound = arithmetic == Arithmetic::kReference ? row.reference : row.float32;
    if (bound.of_chance)
      bound.root_mean_square *= 1 + 3 / std::sqrt(static_cast<double>(one.draws));
    return bound;
  }
  CHECK(!"a case names a bound that the table lacks");
  return {};
}

std::string judge(const OpExpectation& expected, std::span<const float> got, const OpBound& bound) {
  if (expected.values.size() != got.size()) {
    return fmt::format("{} outputs, expected {}", got.size(), expected.values.size());
  }
  double squares = 0, worst = 0;
  size_t worst_index = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(double{got[i]} - expected.values[i]);
    double error = 0;
    if (!(difference <= 0)) error = expected.scales[i] > 0 ? difference / expected.scales[i] : 1e30;
    if (std::isnan(error)) error = 1e30;
    squares += error * error;
    if (error > worst) {
      worst = error;
      worst_index = i;
    }
  }
  const double mean = got.empty() ? 0 : std::sqrt(squares / static_cast<double>(got.size()));
  if (worst <= bound.greatest && mean <= bound.root_mean_square) return "";
  return fmt::format(
      "error {:.3g} (allowed {:.3g}), greatest {:.3g} (allowed {:.3g}) at output {} "
      "of {}: {} instead of {}",
      mean, bound.root_mean_square, worst, bound.greatest, worst_index, got.size(),
      got[worst_index], expected.values[worst_index]);
}

}  // namespace hadal
