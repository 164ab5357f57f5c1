#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "support/op_cases.h"
#include "support/workbench.h"

namespace hadal {
namespace {

// ---- route

struct RouteCase {
  Matrix logits;
  std::vector<float> bias;  // or none
  RouterScores scores = RouterScores::kSoftmax;
  GroupValue group_value = GroupValue::kGreatest;
  RouterWeights normalise = RouterWeights::kPlain;
  uint32_t groups = 1, groups_kept = 1, top_k = 1;
  float scaling = 1;
};

Result<std::vector<float>> run_route(const RouteCase& c, Device& device) {
  Workbench bench(device);
  const Tensor chosen = bench.blank_of(QuantType::kI32, c.logits.rows, c.top_k);
  const Tensor weights = bench.blank(c.logits.rows, c.top_k, c.top_k + 3);
  const Weight bias =
      c.bias.empty() ? Weight{} : bench.vector(stored_vector(QuantType::kF32, c.bias));
  device.ops().route({.logits = bench.tensor(c.logits, c.logits.columns + 5),
                      .bias = bias,
                      .scores = c.scores,
                      .group_value = c.group_value,
                      .normalise = c.normalise,
                      .groups = c.groups,
                      .groups_kept = c.groups_kept,
                      .scaling = c.scaling,
                      .chosen = chosen,
                      .weights = weights});
  HADAL_TRY(auto all, bench.finish(chosen));
  HADAL_TRY(const auto values, bench.finish(weights));
  all.insert(all.end(), values.begin(), values.end());
  return all;
}

// Takes the greatest that is left, again and again: the first of equal ones.
std::vector<uint32_t> take_greatest(std::vector<float> values, const std::vector<bool>& allowed,
                                    uint32_t count) {
  std::vector<uint32_t> taken;
  std::vector<bool> left = allowed;
  for (float& value : values) {
    if (std::isnan(value)) value = -std::numeric_limits<float>::infinity();
  }
  while (taken.size() < count) {
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < values.size(); ++i) {
      if (left[i] && (best == UINT32_MAX || values[i] > values[best])) best = i;
    }
    taken.push_back(best);
    left[best] = false;
  }
  return taken;
}

void expect_token(const RouteCase& c, std::span<const float> logits, OpExpectation& chosen,
                  OpExpectation& weights) {
  const size_t experts = logits.size(), group_experts = experts / c.groups;
  std::vector<double> exact(experts);
  double total = 0;
  const double greatest = *std::max_element(logits.begin(), logits.end());
  for (size_t e = 0; e < experts; ++e) {
    const double logit = logits[e];
    exact[e] = c.scores == RouterScores::kSigmoid ? 1 / (1 + std::exp(-logit))
                                                  : std::exp(logit - greatest);
    total += exact[e];
  }
  std::vector<float> scores(experts), values(experts), of_group(c.groups);
  for (size_t e = 0; e < experts; ++e) {
    scores[e] =
        static_cast<float>(c.scores == RouterScores::kSigmoid ? exact[e] : exact[e] / total);
    values[e] = c.bias.empty() ? scores[e] : scores[e] + c.bias[e];
  }
  for (uint32_t g = 0; g < c.groups; ++g) {
    const std::vector<float> mine(values.begin() + g * group_experts,
                                  values.begin() + (g + 1) * group_experts);
    const uint32_t count = c.group_value == GroupValue::kTopTwo ? 2 : 1;
    of_group[g] = 0;
    for (const uint32_t i : take_greatest(mine, std::vector<bool>(mine.size(), true), count)) {
      of_group[g] += mine[i];
    }
  }
  std::vector<bool> allowed(experts, false);
  for (const uint32_t g :
       take_greatest(of_group, std::vector<bool>(c.groups, true), c.groups_kept)) {
    std::fill_n(allowed.begin() + g * group_experts, group_experts, true);
  }
  const std::vector<uint32_t> taken = take_greatest(values, allowed, c.top_k);
  double sum = 0;
  for (const uint32_t e : taken) sum += double{scores[e]};
  for (const uint32_t e : taken) {
    chosen.values.push_back(e);
    chosen.scales.push_back(0);
    double weight = double{scores[e]} * double{c.scaling};
    if (c.normalise == RouterWeights::kNormalised) weight /= sum + 1e-20;
    weights.values.push_back(weight);
    weights.scales.push_back(std::abs(weight) + 1e-37);
  }
}

OpExpectation expect_route(const RouteCase& c) {
  OpExpectation chosen, weights;
  for (uint32_t token = 0; token < c.logits.rows; ++token) {
    expect_token(c, c.logits.row(token), chosen, weights);
  }
  chosen.values.insert(chosen.values.end(), weights.values.begin(), weights.values.end());
  chosen.scales.insert(chosen.scales.end(), weights.scales.begin(), weights.scales.end());
  return chosen;
}

void add_route(std::vector<OpCase>& cases, RouteCase made, std::string_view what) {
  const auto c = std::make_shared<const RouteCase>(std::move(made));
  cases.push_back(
      {"route",
       fmt::format("{} tokens, {} of {} experts, {} of {} groups, {}{}{}, x {}, {}", c->logits.rows,
                   c->top_k, c->logits.columns, c->groups_kept, c->groups,
                   c->scores == RouterScores::kSigmoid ? "sigmoid" : "softmax",
                   c->bias.empty() ? "" : ", bias",
                   c->normalise == RouterWeights::kNormalised ? ", normalised" : "", c->scaling,
                   what),
       "route", [c](Device& device) { return run_route(*c, device); },
       [c] { return expect_route(*c); }});
}

// Few distinct values: many scores, biased scores and groups are equal.
Matrix coarse(Matrix matrix) {
  for (float& value : matrix.values) value = std::round(value);
  return matrix;
}

void add_route_shapes(std::vector<OpCase>& cases, RouteCase shape, uint32_t experts,
                      Random& random) {
  const auto add = [&](Matrix logits, std::string_view what) {
    RouteCase c = shape;
    c.logits = std::move(logits);
    add_route(cases, std::move(c), what);
  };
  add(random_matrix(random, 1, experts, 2), "random");
  add(random_matrix(random, 37, experts, 2), "random");
  add(coarse(random_matrix(random, 37, experts)), "ties");
  add({3, experts, std::vector<float>(size_t{3} * experts, 0.25f)}, "all equal");
  add(random_matrix(random, 5, experts, 60), "far apart");
}

// ---- experts

struct ExpertsCase {
  Matrix in, weights, old;
  std::vector<int32_t> chosen;
  std::vector<StoredWeight> gate, up, down;  // by expert
  Workbench::Stacking stacking = Workbench::Stacking::kPieces;
  bool strided = false;
};

Result<std::vector<float>> run_experts(const ExpertsCase& c, Device& device) {
  Workbench bench(device);
  const uint32_t gap = c.strided ? 7 : 0;
  const auto strided = [&](const Matrix& matrix) {
    return bench.tensor(matrix, gap == 0 ? 0 : matrix.columns + gap);
  };
  const Tensor out = strided(c.old);
  device.ops().experts({.in = strided(c.in),
                        .chosen = bench.whole_numbers(c.in.rows, c.weights.columns, c.chosen),
                        .weights = strided(c.weights),
                        .gate = bench.stack(c.gate, c.stacking),
                        .up = bench.stack(c.up, c.stacking),
                        .down = bench.stack(c.down, c.stacking),
                        .out = out});
  return bench.finish(out);
}

double product(std::span<const float> weight, std::span<const float> in) {
  double sum = 0;
  for (size_t i = 0; i < in.size(); ++i) sum += double{weight[i]} * double{in[i]};
  return sum;
}

// Adds weight x expert e of `in` to values and scales, [width].
void add_expert(const ExpertsCase& c, size_t e, std::span<const float> in, double weight,
                Steps steps, std::span<double> values, std::span<double> scales) {
  const Matrix &gate = c.gate[e].decoded, &up = c.up[e].decoded, &down = c.down[e].decoded;
  std::vector<float> hidden(gate.rows);
  std::vector<double> exact(gate.rows), unsure(gate.rows);
  for (uint32_t r = 0; r < gate.rows; ++r) {
    const double g = product(gate.row(r), in), u = product(up.row(r), in);
    const double silu = g / (1 + std::exp(-g));
    exact[r] = silu * u;
    hidden[r] = static_cast<float>(exact[r]);
    // The slope of silu is at most 1.1.
    unsure[r] = 1.1 * std::abs(u) * product_scale(in, gate.row(r), steps) +
                std::abs(silu) * product_scale(in, up.row(r), steps);
  }
  for (uint32_t row = 0; row < down.rows; ++row) {
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < down.columns; ++i) {
      const double w = down.at(row, i);
      sum += w * exact[i];
      squares += w * w * unsure[i] * unsure[i];
    }
    values[row] += weight * sum;
    scales[row] +=
        std::abs(weight) * (product_scale(hidden, down.row(row), steps) + std::sqrt(squares));
  }
}

OpExpectation expect_experts(const ExpertsCase& c, bool is_float) {
  OpExpectation expected{{c.old.values.begin(), c.old.values.end()}, {}, {}};
  for (const float old : c.old.values) expected.scales.push_back(std::abs(double{old}));
  if (!is_float && c.in.rows > kShortStepTokens) {
    expected.rounded = expected.rounded_weights = expected.scales;
  }
  const uint32_t width = c.old.columns, top_k = c.weights.columns;
  std::vector<double> twice = expected.values;  // the values again, and of no use
  for (uint32_t token = 0; token < c.in.rows; ++token) {
    for (uint32_t k = 0; k < top_k; ++k) {
      const auto add = [&](Steps steps, std::vector<double>& values, std::vector<double>& scales) {
        add_expert(c, static_cast<size_t>(c.chosen[size_t{token} * top_k + k]), c.in.row(token),
                   double{c.weights.at(token, k)}, steps,
                   std::span(values).subspan(size_t{token} * width, width),
                   std::span(scales).subspan(size_t{token} * width, width));
      };
      add(Steps::kShort, expected.values, expected.scales);
      if (expected.rounded.empty()) continue;
      add(Steps::kLong, twice, expected.rounded);
      add(Steps::kLongOfBytes, twice, expected.rounded_weights);
    }
  }
  return expected;
}

struct ExpertsShape {
  QuantType gate, up, down;
  uint32_t tokens, experts, top_k, width, inner;
  Workbench::Stacking stacking = Workbench::Stacking::kPieces;
  bool strided = false;
  uint32_t scale_block = 0;     // of FP8
  uint32_t experts_in_use = 0;  // 0: any may be chosen
};

struct ExpertsList {
  std::vector<OpCase> cases;
  Random random{42};

  std::vector<StoredWeight> stack(QuantType type, const ExpertsShape& shape, uint32_t rows,
                                  uint32_t columns) {
    std::vector<StoredWeight> list;
    for (uint32_t e = 0; e < shape.experts; ++e) {
      list.push_back(
          shape.scale_block == 0
              ? random_weight(random, type, rows, columns)
              : random_scaled_weight(random, rows, columns, shape.scale_block, shape.scale_block));
    }
    return list;
  }

  void add(const ExpertsShape& s, std::string_view what) {
    ExpertsCase made{.in = random_matrix(random, s.tokens, s.width, 3),
                     .weights = random_matrix(random, s.tokens, s.top_k),
                     .old = random_matrix(random, s.tokens, s.width, 0.01f),
                     .chosen = {},
                     .gate = stack(s.gate, s, s.inner, s.width),
                     .up = stack(s.up, s, s.inner, s.width),
                     .down = stack(s.down, s, s.width, s.inner),
                     .stacking = s.stacking,
                     .strided = s.strided};
    const uint32_t usable = s.experts_in_use == 0 ? s.experts : s.experts_in_use;
    for (uint32_t token = 0; token < s.tokens; ++token) {
      std::vector<int32_t> all(usable);
      for (uint32_t e = 0; e < usable; ++e) all[e] = static_cast<int32_t>(s.experts - 1 - e);
      std::shuffle(all.begin(), all.end(), random);
      for (uint32_t k = 0; k < s.top_k; ++k) made.chosen.push_back(all[k % usable]);
    }
    const auto c = std::make_shared<const ExpertsCase>(std::move(made));
    const auto one_value = [](QuantType type) { return quant_format(type).block_values == 1; };
    const bool is_float = one_value(s.gate) && one_value(s.up) && one_value(s.down);
    cases.push_back(
        {"experts",
         fmt::format("{} tokens, {} of {} experts, {} {} {}, {} x {}, {}", s.tokens, s.top_k,
                     s.experts, quant_format(s.gate).name, quant_format(s.up).name,
                     quant_format(s.down).name, s.width, s.inner, what),
         is_float ? "experts float" : "experts quantized",
         [c](Device& device) { return run_experts(*c, device); },
         [c, is_float] { return expect_experts(*c, is_float); }, s.tokens});
  }
};

}  // namespace

std::vector<OpCase> route_cases() {
  std::vector<OpCase> cases;
  Random random(41);
  const auto bias = [&](uint32_t experts, float middle) {
    std::vector<float> values = coarse(random_matrix(random, 1, experts)).values;
    for (float& value : values) value = middle + value / 16;
    return values;
  };
  add_route_shapes(cases, {.top_k = 1}, 1, random);
  add_route_shapes(cases, {.top_k = 3, .scaling = 0.5f}, 7, random);
  add_route_shapes(cases, {.top_k = 6}, 64, random);
  add_route_shapes(cases, {.normalise = RouterWeights::kNormalised, .top_k = 9}, 9, random);
  add_route_shapes(cases, {.groups = 8, .groups_kept = 3, .top_k = 6, .scaling = 16}, 160, random);
  RouteCase v3 = {.bias = bias(256, 0),
                  .scores = RouterScores::kSigmoid,
                  .group_value = GroupValue::kTopTwo,
                  .normalise = RouterWeights::kNormalised,
                  .groups = 8,
                  .groups_kept = 4,
                  .top_k = 8,
                  .scaling = 2.5f};
  add_route_shapes(cases, v3, 256, random);
  v3.bias = bias(256, -1.5f);  // every biased score is below 0, that of masked groups is below all
  add_route_shapes(cases, v3, 256, random);
  v3.groups = v3.groups_kept = 1;
  v3.bias = bias(384, 0);
  add_route_shapes(cases, v3, 384, random);
  v3.bias.clear();
  v3.groups = 5;
  v3.groups_kept = 2;
  v3.top_k = 6;  // all that are kept
  add_route_shapes(cases, v3, 15, random);

  v3.logits = random_matrix(random, 2, 15);
  v3.logits.at(0, 4) = v3.logits.at(1, 0) = std::numeric_limits<float>::quiet_NaN();
  v3.top_k = 4;
  add_route(cases, v3, "a score that is none");
  return cases;
}

std::vector<OpCase> experts_cases() {
  ExpertsList list;
  using enum Workbench::Stacking;
  for (const QuantFormat& format : quant_formats()) {
    const uint32_t block = format.block_values == 1 ? 24u : format.block_values;
    const QuantType type = format.type;
    for (const uint32_t tokens : {1u, 5u, 40u}) {
      const uint32_t wide = std::max(block, 64u);
      list.add({type, type, type, tokens, 5, 2, wide, block, tokens == 5 ? kOne : kPieces},
               "random");
    }
  }
  for (const QuantType type : {QuantType::kF32, QuantType::kBF16}) {
    for (const uint32_t tokens : {1u, 3u, 33u}) {
      list.add({type, type, type, tokens, 7, 3, 37, 11, kOne}, "odd");
      list.add({type, type, type, tokens, 1, 1, 5, 1}, "one expert");
    }
  }
  list.add({QuantType::kQ4_K, QuantType::kQ4_K, QuantType::kQ6_K, 1, 64, 6, 512, 256, kOne},
           "a mix");
  list.add({QuantType::kQ4_K, QuantType::kQ4_K, QuantType::kQ6_K, 70, 9, 6, 512, 256, kOne},
           "a mix");
  list.add({QuantType::kQ8_0, QuantType::kQ5_0, QuantType::kF16, 6, 4, 2, 96, 32, kOne, true},
           "strided");
  list.add({QuantType::kF32, QuantType::kF32, QuantType::kF32, 6, 4, 2, 33, 9, kPieces, true},
           "strided");
  for (const auto stacking : {kPieces, kOne}) {
    list.add({QuantType::kF8_E4M3, QuantType::kF8_E4M3, QuantType::kF8_E4M3, 4, 3, 2, 150, 40,
              stacking, false, 128},
             "ragged scales");
    list.add({QuantType::kF8_E4M3, QuantType::kF8_E4M3, QuantType::kF8_E4M3, 1, 3, 3, 33, 21,
              stacking, false, 16},
             "small ragged scales");
  }
  list.add(
      {QuantType::kF32, QuantType::kF32, QuantType::kF32, 50, 16, 1, 20, 12, kOne, false, 0, 1},
      "all choose one");
  list.add({QuantType::kF32, QuantType::kF32, QuantType::kF32, 3, 4, 3, 20, 12, kOne, false, 0, 2},
           "one stands twice");
  return std::move(list.cases);
}

}  // namespace hadal
