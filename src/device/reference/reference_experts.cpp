// The reference device's mixture of experts: the choice, and the chosen experts' sum.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "device/device.h"
#include "device/mapped_weight.h"
#include "device/reference/reference_cache.h"
#include "device/reference/reference_ops.h"

namespace hadal {
namespace {

constexpr double kNormaliseEpsilon = 1e-20;  // of the published code: no division by zero

float number_or_least(float value) {
  return std::isnan(value) ? -INFINITY : value;
}

void score_experts(RouterScores kind, const float* logits, uint32_t experts, float* scores) {
  if (kind == RouterScores::kSigmoid) {
    for (uint32_t e = 0; e < experts; ++e) {
      scores[e] = static_cast<float>(1.0 / (1.0 + std::exp(-double{logits[e]})));
    }
    return;
  }
  const double greatest = *std::max_element(logits, logits + experts);
  double total = 0;
  for (uint32_t e = 0; e < experts; ++e) total += std::exp(double{logits[e]} - greatest);
  for (uint32_t e = 0; e < experts; ++e) {
    scores[e] = static_cast<float>(std::exp(double{logits[e]} - greatest) / total);
  }
}

// The indices of [0, values.size()) in the order of their values, greatest first; of equal values
// the lower index.
std::vector<uint32_t> ranked(std::span<const float> values) {
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
  return order;
}

float value_of_group(GroupValue kind, std::span<const float> values) {
  float first = -INFINITY, second = -INFINITY;
  for (const float value : values) {
    if (value > first) {
      second = std::exchange(first, value);
    } else if (value > second) {
      second = value;
    }
  }
  return number_or_least(kind == GroupValue::kGreatest ? first : first + second);
}

std::vector<bool> kept_groups(const RouteArgs& args, std::span<const float> values) {
  const size_t group_experts = values.size() / args.groups;
  std::vector<float> group_values;
  for (uint32_t group = 0; group < args.groups; ++group) {
    group_values.push_back(
        value_of_group(args.group_value, values.subspan(group * group_experts, group_experts)));
  }
  const std::vector<uint32_t> order = ranked(group_values);
  std::vector<bool> kept(args.groups, false);
  for (uint32_t i = 0; i < args.groups_kept; ++i) kept[order[i]] = true;
  return kept;
}

float* float_row(const Tensor& tensor, size_t row) {
  return static_cast<float*>(tensor.data) + row * tensor.row_stride;
}
int32_t* whole_row(const Tensor& tensor, size_t row) {
  return static_cast<int32_t*>(tensor.data) + row * tensor.row_stride;
}

void check_chosen(const Tensor& chosen, const Device& device) {
  CHECK(chosen && chosen.device == &device && chosen.type == QuantType::kI32);
  CHECK(chosen.row_stride >= chosen.columns);
}

// A token that an expert was chosen for, and how much of it is wanted.
struct Wanted {
  uint32_t token;
  float weight;
};

}  // namespace

void ReferenceOps::route(const RouteArgs& args) {
  check(args.logits);
  check(args.weights);
  check_chosen(args.chosen, device_);
  const uint32_t experts = args.logits.columns, top_k = args.chosen.columns;
  CHECK(args.chosen.rows == args.logits.rows && args.weights.rows == args.logits.rows);
  CHECK(args.weights.columns == top_k && args.groups > 0 && experts % args.groups == 0);
  CHECK(args.groups_kept > 0 && args.groups_kept <= args.groups);
  CHECK(top_k <= experts / args.groups * args.groups_kept);
  CHECK(args.group_value == GroupValue::kGreatest || experts / args.groups >= 2);
  std::span<const float> bias;
  if (args.bias) {
    check(args.bias);
    bias = MappedWeight::of(args.bias).vector();
    CHECK(bias.size() == experts);
  }
  std::vector<float> scores(experts), values(experts);
  for (uint32_t token = 0; token < args.logits.rows; ++token) {
    score_experts(args.scores, float_row(args.logits, token), experts, scores.data());
    for (uint32_t e = 0; e < experts; ++e) {
      values[e] = number_or_least(bias.empty() ? scores[e] : scores[e] + bias[e]);
    }
    const std::vector<bool> kept = kept_groups(args, values);
    int32_t* chosen = whole_row(args.chosen, token);
    float* weights = float_row(args.weights, token);
    uint32_t found = 0;
    double total = 0;
    for (const uint32_t expert : ranked(values)) {
      if (found == top_k) break;
      if (!kept[expert / (experts / args.groups)]) continue;
      chosen[found++] = static_cast<int32_t>(expert);
      total += double{scores[expert]};
    }
    const double divisor =
        args.normalise == RouterWeights::kNormalised ? total + kNormaliseEpsilon : 1.0;
    for (uint32_t k = 0; k < top_k; ++k) {
      weights[k] = static_cast<float>(double{scores[static_cast<uint32_t>(chosen[k])]} / divisor *
                                      double{args.scaling});
    }
  }
}

// Expert by expert in the order of their indices: its rows are decoded once for all tokens that
// have chosen it, and its result is added to each one's sum.
void ReferenceOps::experts(const ExpertsArgs& args) {
  check(args.in);
  check(args.weights);
  check(args.out);
  check_chosen(args.chosen, device_);
  for (const Weight& weight : {args.gate, args.up, args.down}) check(weight);
  const MappedWeight& gate = MappedWeight::of(args.gate);
  const MappedWeight& up = MappedWeight::of(args.up);
  const MappedWeight& down = MappedWeight::of(args.down);
  const uint32_t tokens = args.in.rows, width = args.in.columns, inner = gate.rows();
  CHECK(gate.columns() == width && up.columns() == width && up.rows() == inner);
  CHECK(down.rows() == width && down.columns() == inner);
  CHECK(up.experts() == gate.experts() && down.experts() == gate.experts());
  CHECK(args.out.rows == tokens && args.out.columns == width);
  CHECK(args.chosen.rows == tokens && args.weights.rows == tokens);
  CHECK(args.weights.columns == args.chosen.columns);

  std::vector<std::vector<Wanted>> wanted(gate.experts());
  for (uint32_t token = 0; token < tokens; ++token) {
    for (uint32_t k = 0; k < args.chosen.columns; ++k) {
      const int32_t expert = whole_row(args.chosen, token)[k];
      CHECK(expert >= 0 && static_cast<uint32_t>(expert) < gate.experts());
      wanted[static_cast<uint32_t>(expert)].push_back({token, float_row(args.weights, token)[k]});
    }
  }
  sums_.assign(size_t{tokens} * width, 0.0);
  row_.resize(pool_.threads());
  for (auto& row : row_) row.resize(2 * size_t{std::max(width, inner)});
  for (uint32_t e = 0; e < gate.experts(); ++e) {
    const std::vector<Wanted>& here = wanted[e];
    const size_t work = here.size() * width * inner;
    hidden_.resize(here.size() * inner);
    if (here.empty()) continue;
    const MappedWeight::Matrix gates = gate.expert(e), ups = up.expert(e), downs = down.expert(e);
    parallel(inner, 1, work, [&](size_t first, size_t last, uint32_t thread) {
      float *gate_row = row_[thread].data(), *up_row = gate_row + width;
      for (size_t r = first; r < last; ++r) {
        gate.decode_row(gates, static_cast<uint32_t>(r), gate_row);
        up.decode_row(ups, static_cast<uint32_t>(r), up_row);
        for (size_t i = 0; i < here.size(); ++i) {
          const float* in = float_row(args.in, here[i].token);
          const double g = dot(in, gate_row, width);
          hidden_[i * inner + r] =
              static_cast<float>(g / (1.0 + std::exp(-g)) * dot(in, up_row, width));
        }
      }
    });
    parallel(width, 1, work, [&](size_t first, size_t last, uint32_t thread) {
      float* row = row_[thread].data();
      for (size_t r = first; r < last; ++r) {
        down.decode_row(downs, static_cast<uint32_t>(r), row);
        for (size_t i = 0; i < here.size(); ++i) {
          sums_[here[i].token * size_t{width} + r] +=
              double{here[i].weight} * dot(hidden_.data() + i * inner, row, inner);
        }
      }
    });
  }
  for (uint32_t token = 0; token < tokens; ++token) {
    float* out = float_row(args.out, token);
    for (uint32_t i = 0; i < width; ++i) {
      out[i] = static_cast<float>(double{out[i]} + sums_[size_t{token} * width + i]);
    }
  }
}

}  // namespace hadal
