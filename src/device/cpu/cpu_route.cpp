// The router's choice: token by token, as the reference device makes it, number by number.
#include <cmath>

#include "device/cpu/cpu_ops.h"
#include "device/device.h"
#include "device/mapped_weight.h"

namespace hadal::cpu {
namespace {

constexpr double kNormaliseEpsilon = 1e-20;
constexpr size_t kTokensAtOnce = 16;

float number_or_least(float value) {
  return std::isnan(value) ? -INFINITY : value;
}

void score_experts(RouterScores kind, const float* logits, uint32_t experts, float* scores,
                   double* powers) {
  if (kind == RouterScores::kSigmoid) {
    for (uint32_t e = 0; e < experts; ++e) {
      scores[e] = static_cast<float>(1.0 / (1.0 + std::exp(-double{logits[e]})));
    }
    return;
  }
  const double greatest = *std::max_element(logits, logits + experts);
  double total = 0;
  for (uint32_t e = 0; e < experts; ++e) {
    powers[e] = std::exp(double{logits[e]} - greatest);
    total += powers[e];
  }
  for (uint32_t e = 0; e < experts; ++e) scores[e] = static_cast<float>(powers[e] / total);
}

float value_of_group(GroupValue kind, std::span<const float> values) {
  float first = -INFINITY, second = -INFINITY;
  for (const float value : values) {
    if (value > first) {
      second = first;
      first = value;
    } else if (value > second) {
      second = value;
    }
  }
  return number_or_least(kind == GroupValue::kGreatest ? first : first + second);
}

// The index of the greatest value among those still free, of equal ones the lowest; it is free no
// more.
uint32_t take_greatest(std::span<const float> values, std::span<bool> free) {
  size_t best = values.size();
  for (size_t i = 0; i < values.size(); ++i) {
    if (free[i] && (best == values.size() || values[i] > values[best])) best = i;
  }
  CHECK(best < values.size());
  free[best] = false;
  return static_cast<uint32_t>(best);
}

struct RouteScratch {
  std::span<float> scores, values, group_values;
  std::span<double> powers;
  std::span<bool> free, group_free;
};

RouteScratch route_scratch(Arena& arena, const RouteArgs& args) {
  const uint32_t experts = args.logits.columns;
  return {
      {arena.take<float>(experts), experts},         {arena.take<float>(experts), experts},
      {arena.take<float>(args.groups), args.groups}, {arena.take<double>(experts), experts},
      {arena.take<bool>(experts), experts},          {arena.take<bool>(args.groups), args.groups}};
}

void free_kept_groups(const RouteArgs& args, const RouteScratch& s) {
  const size_t group_experts = s.values.size() / args.groups;
  std::fill(s.free.begin(), s.free.end(), args.groups_kept == args.groups);
  if (args.groups_kept == args.groups) return;
  for (uint32_t group = 0; group < args.groups; ++group) {
    s.group_values[group] =
        value_of_group(args.group_value, s.values.subspan(group * group_experts, group_experts));
    s.group_free[group] = true;
  }
  for (uint32_t i = 0; i < args.groups_kept; ++i) {
    const size_t group = take_greatest(s.group_values, s.group_free);
    std::fill_n(s.free.begin() + static_cast<ptrdiff_t>(group * group_experts), group_experts,
                true);
  }
}

void route_token(const RouteArgs& args, std::span<const float> bias, const RouteScratch& s,
                 size_t token) {
  const uint32_t experts = args.logits.columns, top_k = args.chosen.columns;
  const auto* logits = static_cast<const float*>(args.logits.data) + token * args.logits.row_stride;
  auto* chosen = static_cast<int32_t*>(args.chosen.data) + token * args.chosen.row_stride;
  auto* weights = static_cast<float*>(args.weights.data) + token * args.weights.row_stride;
  score_experts(args.scores, logits, experts, s.scores.data(), s.powers.data());
  for (uint32_t e = 0; e < experts; ++e) {
    s.values[e] = number_or_least(bias.empty() ? s.scores[e] : s.scores[e] + bias[e]);
  }
  free_kept_groups(args, s);
  double total = 0;
  for (uint32_t k = 0; k < top_k; ++k) {
    const uint32_t expert = take_greatest(s.values, s.free);
    chosen[k] = static_cast<int32_t>(expert);
    total += double{s.scores[expert]};
  }
  const double divisor =
      args.normalise == RouterWeights::kNormalised ? total + kNormaliseEpsilon : 1.0;
  for (uint32_t k = 0; k < top_k; ++k) {
    weights[k] = static_cast<float>(double{s.scores[static_cast<uint32_t>(chosen[k])]} / divisor *
                                    double{args.scaling});
  }
}

}  // namespace

void CpuOps::route(const RouteArgs& args) {
  check(args.logits);
  check(args.weights);
  check_whole(args.chosen);
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
  Arena one;
  route_scratch(one, args);
  std::byte* threads = nullptr;
  if (!cut_scratch(scratch_, [&](Arena& arena) {
        threads = arena.take<std::byte>(one.used() * pool_.threads());
      })) {
    return;
  }
  parallel(args.logits.rows, kTokensAtOnce, [&](size_t first, size_t last, uint32_t thread) {
    Arena arena;
    arena.start(threads + thread * one.used());
    const RouteScratch scratch = route_scratch(arena, args);
    for (size_t token = first; token < last; ++token) route_token(args, bias, scratch, token);
  });
}

}  // namespace hadal::cpu
