// A mixture of experts. A batch's choices are sorted by expert; an expert's tokens are its group,
// whose activations are laid side by side, so that the matrix kernels serve as they are. Then two
// regions: runs of gate and up rows of all groups, each run's products quantised at once; and runs
// of out's columns, each of which adds the groups in the order of the experts. So a sum has one
// order, whatever the batch, and needs no room but a run's. Weights of other experts are not read.
#include <algorithm>
#include <cstring>

#include "base/sizes.h"
#include "device/cpu/cpu_ops.h"
#include "device/device.h"
#include "device/mapped_weight.h"

namespace hadal::cpu {
namespace {

constexpr size_t kRunsPerThread = 8;   // enough that a thread which is held up delays nobody long
constexpr size_t kGroupOfDigits = 32;  // values that are quantised together, of few tokens
// Rows of a run: of a gemm few, as its products for all tokens should stay in the cache; but those
// of gate and up are quantised together.
constexpr size_t kRowsAtOnceLeast = 16, kRowsOfGemm = 64, kRowsOfGemv = 512;

const float* row_of(const Tensor& tensor, size_t row) {
  return static_cast<const float*>(tensor.data) + row * tensor.row_stride;
}

}  // namespace

// The tokens of one expert: a range of the sorted choices.
struct CpuOps::ExpertGroup {
  StoredMatrix gate, up, down;
  size_t first = 0, count = 0;
};

struct CpuOps::ExpertsPlan {
  const ExpertsArgs& args;
  std::span<const ExpertGroup> groups;
  size_t width = 0, inner = 0, choices = 0, group_max = 0;
  // Where the inputs lie, by choice; a batch of one token has one place for all its choices.
  size_t places = 0;
  bool in_digits = false, in_floats = false, inner_digits = false;
  DigitTokens in = {}, hidden = {};  // hidden: by choice
  float *in_values = nullptr, *hidden_values = nullptr;
  size_t gate_rows = 0, gate_runs = 0;  // of a run; runs of a group
  size_t down_rows = 0, down_runs = 0;
  // A thread's: the panel of a gemm, then products of a run.
  std::byte* threads = nullptr;
  size_t thread_bytes = 0, panel_bytes = 0;

  size_t place_of(const ExpertGroup& group) const { return places == 1 ? 0 : group.first; }
  // How many the group has that this place is of.
  size_t tokens_with(size_t place) const {
    const auto behind =
        std::upper_bound(groups.begin(), groups.end(), place,
                         [](size_t at, const ExpertGroup& group) { return at < group.first; });
    return behind[-1].count;
  }
  std::byte* panel(uint32_t thread) const { return threads + thread * thread_bytes; }
  float* products(uint32_t thread) const {
    return reinterpret_cast<float*>(panel(thread) + panel_bytes);
  }
};

CpuOps::CpuOps(Device& device, const KernelTable& kernels, uint32_t threads)
    : device_(device), kernels_(kernels), pool_(threads) {}
CpuOps::~CpuOps() = default;

void CpuOps::experts(const ExpertsArgs& args) {
  ExpertsPlan plan{.args = args};
  plan_experts(plan);
  if (plan.choices == 0 || !reserve_experts(plan)) return;
  parallel(plan.places, rows_at_once(args.in.columns), [&](size_t first, size_t last, uint32_t) {
    for (size_t place = first; place < last; ++place) gather_place(plan, place);
  });
  parallel(plan.groups.size() * plan.gate_runs, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t run = first; run < last; ++run) gate_run(plan, run, thread);
  });
  if (plan.inner_digits) {
    parallel(plan.choices, rows_at_once(plan.inner), [&](size_t first, size_t last, uint32_t) {
      for (size_t choice = first; choice < last; ++choice) {
        pad_digits(plan.hidden, plan.inner, choice);
      }
    });
  }
  parallel(plan.down_runs, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t run = first; run < last; ++run) down_run(plan, run, thread);
  });
}

// A counting sort: choices of an expert in the order of tokens, and of a token's k.
void CpuOps::group_tokens(const ExpertsArgs& args) {
  const uint32_t experts = args.gate.experts, top_k = args.chosen.columns;
  const auto expert_of = [&](size_t token, size_t k) {
    const auto* chosen = static_cast<const int32_t*>(args.chosen.data);
    const int32_t expert = chosen[token * args.chosen.row_stride + k];
    CHECK(expert >= 0 && static_cast<uint32_t>(expert) < experts);
    return static_cast<uint32_t>(expert);
  };
  expert_starts_.assign(size_t{experts} + 1, 0);
  for (size_t token = 0; token < args.in.rows; ++token) {
    for (size_t k = 0; k < top_k; ++k) ++expert_starts_[expert_of(token, k) + 1];
  }
  for (uint32_t e = 0; e < experts; ++e) expert_starts_[e + 1] += expert_starts_[e];
  expert_tokens_.resize(size_t{args.in.rows} * top_k);
  expert_weights_.resize(expert_tokens_.size());
  for (size_t token = 0; token < args.in.rows; ++token) {
    for (size_t k = 0; k < top_k; ++k) {
      const uint32_t at = expert_starts_[expert_of(token, k)]++;  // becomes the expert's end
      expert_tokens_[at] = static_cast<uint32_t>(token);
      expert_weights_[at] = row_of(args.weights, token)[k];
    }
  }
}

void CpuOps::plan_experts(ExpertsPlan& plan) {
  const ExpertsArgs& args = plan.args;
  check(args.in);
  check(args.weights);
  check(args.out);
  check_whole(args.chosen);
  for (const Weight& weight : {args.gate, args.up, args.down}) check(weight);
  const MappedWeight& gate = MappedWeight::of(args.gate);
  const MappedWeight& up = MappedWeight::of(args.up);
  const MappedWeight& down = MappedWeight::of(args.down);
  plan.width = args.in.columns;
  plan.inner = gate.rows();
  CHECK(gate.columns() == plan.width && up.columns() == plan.width && up.rows() == plan.inner);
  CHECK(down.rows() == plan.width && down.columns() == plan.inner);
  CHECK(up.experts() == gate.experts() && down.experts() == gate.experts());
  CHECK(args.out.rows == args.in.rows && args.out.columns == plan.width);
  CHECK(args.chosen.rows == args.in.rows && args.weights.rows == args.in.rows);
  CHECK(args.weights.columns == args.chosen.columns);

  group_tokens(args);
  expert_groups_.clear();
  size_t first = 0;
  for (uint32_t e = 0; e < gate.experts(); ++e) {
    const size_t end = expert_starts_[e];
    if (end == first) continue;
    expert_groups_.push_back({.gate = StoredMatrix(kernels_, gate, e),
                              .up = StoredMatrix(kernels_, up, e),
                              .down = StoredMatrix(kernels_, down, e),
                              .first = first,
                              .count = end - first});
    plan.group_max = std::max(plan.group_max, end - first);
    first = end;
  }
  plan.groups = expert_groups_;
  plan.choices = expert_tokens_.size();
  plan.places = args.in.rows == 1 ? std::min<size_t>(1, plan.choices) : plan.choices;
  plan.in_digits = takes_digits(gate.type()) || takes_digits(up.type());
  plan.in_floats = !takes_digits(gate.type()) || !takes_digits(up.type());
  plan.inner_digits = takes_digits(down.type());
  if (plan.choices == 0) return;

  const size_t runs = pool_.threads() * kRunsPerThread;
  const bool few = plan.group_max <= kFewTokensMax;
  const auto rows_a_run = [&](size_t rows, size_t wanted, size_t least) {
    const size_t most = few ? kRowsOfGemv : std::max(kRowsOfGemm, least);
    return std::min(most, round_up(divide_up(rows, std::max<size_t>(1, wanted)), least));
  };
  plan.gate_rows = rows_a_run(plan.inner, divide_up(runs, plan.groups.size()),
                              few ? kGroupOfDigits : kSparseBlock);
  plan.gate_runs = divide_up(plan.inner, plan.gate_rows);
  plan.down_rows = rows_a_run(plan.width, runs, std::max(kRowsAtOnceLeast, kernels_.panel_rows));
  plan.down_runs = divide_up(plan.width, plan.down_rows);
}

bool CpuOps::reserve_experts(ExpertsPlan& plan) {
  if (plan.group_max > kFewTokensMax) {
    plan.panel_bytes = panel_bytes(kernels_);
  }
  const size_t products = plan.group_max * std::max(2 * plan.gate_rows, plan.down_rows);
  plan.thread_bytes = round_up(plan.panel_bytes + products * sizeof(float), Arena::kLine);
  return cut_scratch(scratch_, [&](Arena& arena) {
    if (plan.in_digits) plan.in = take_digits(arena, plan.width, plan.places);
    if (plan.in_floats) plan.in_values = arena.take<float>(plan.places * plan.width);
    if (plan.inner_digits) {
      plan.hidden = take_digits(arena, plan.inner, plan.choices);
    } else {
      plan.hidden_values = arena.take<float>(plan.choices * plan.inner);
    }
    plan.threads = arena.take<std::byte>(plan.thread_bytes * pool_.threads());
  });
}

// The input of a choice's token to the choice's place.
void CpuOps::gather_place(const ExpertsPlan& plan, size_t place) const {
  const float* in = row_of(plan.args.in, expert_tokens_[place]);
  if (plan.in_digits) {
    quantize(kernels_, plan.tokens_with(place), in, plan.width, plan.in, place);
  }
  if (plan.in_floats) {
    std::memcpy(plan.in_values + place * plan.width, in, plan.width * sizeof(float));
  }
}

// Some rows of one expert's gate and up, and the hidden values that they make.
void CpuOps::gate_run(const ExpertsPlan& plan, size_t run, uint32_t thread) const {
  const ExpertGroup& group = plan.groups[run / plan.gate_runs];
  const size_t first = run % plan.gate_runs * plan.gate_rows;
  const size_t last = std::min(plan.inner, first + plan.gate_rows), rows = last - first;
  const size_t place = plan.place_of(group);
  const Activations in = {.tokens = group.count,
                          .digits = plan.in_digits ? digits_from(plan.in, place) : DigitTokens{},
                          .floats = {plan.in_values + (plan.in_floats ? place * plan.width : 0),
                                     plan.width, plan.width}};
  float* gates = plan.products(thread);
  float* ups = gates + group.count * rows;
  group.gate.multiply(first, last, in, plan.panel(thread), {gates, rows, nullptr, false});
  group.up.multiply(first, last, in, plan.panel(thread), {ups, rows, nullptr, false});
  for (size_t i = 0; i < group.count; ++i) {
    const size_t choice = group.first + i;
    float* to =
        plan.inner_digits ? gates + i * rows : plan.hidden_values + choice * plan.inner + first;
    kernels_.swiglu(gates + i * rows, ups + i * rows, rows, to);
    if (!plan.inner_digits) continue;
    quantize_part(kernels_, group.count, to, first, rows, plan.hidden, choice);
  }
}

// Some columns of out, for all tokens.
void CpuOps::down_run(const ExpertsPlan& plan, size_t run, uint32_t thread) const {
  const size_t first = run * plan.down_rows;
  const size_t last = std::min(plan.width, first + plan.down_rows), rows = last - first;
  float* products = plan.products(thread);
  for (const ExpertGroup& group : plan.groups) {
    const Activations in = {
        .tokens = group.count,
        .digits = plan.inner_digits ? digits_from(plan.hidden, group.first) : DigitTokens{},
        .floats = {plan.hidden_values + (plan.inner_digits ? 0 : group.first * plan.inner),
                   plan.inner, plan.inner}};
    group.down.multiply(first, last, in, plan.panel(thread), {products, rows, nullptr, false});
    for (size_t i = 0; i < group.count; ++i) {
      const size_t choice = group.first + i;
      float* out = static_cast<float*>(plan.args.out.data) +
                   expert_tokens_[choice] * size_t{plan.args.out.row_stride} + first;
      kernels_.add_scaled(products + i * rows, expert_weights_[choice], rows, out);
    }
  }
}

}  // namespace hadal::cpu
