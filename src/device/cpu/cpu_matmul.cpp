// The matrix product: activations are quantised once a call, then rows of all projections are
// handed out to the threads in runs.
//
// For quantised weights an activation is a number of two int8 digits (about 15 bits). With one
// alone the error of a small model's outliers reaches the answer: SmolLM2's logits were off by a
// third of their spread, and its first word changed. The second digit costs no memory traffic, so
// decoding hardly feels it.
#include "base/sizes.h"
#include "device/cpu/arena.h"
#include "device/cpu/cpu_ops.h"
#include "device/device.h"
#include "device/mapped_weight.h"

namespace hadal::cpu {
namespace {

constexpr size_t kRunsPerThread = 8;     // enough that a thread which is held up delays nobody long
constexpr size_t kRowsAtOnceLeast = 16;  // fewer are not worth taking
constexpr size_t kAloneBytes = 16 << 10;  // weights that one thread reads before another wakes

std::optional<IntegerFormat> integer_format(QuantType type) {
  switch (type) {
    case QuantType::kQ4_0:
      return kInt_Q4_0;
    case QuantType::kQ4_1:
      return kInt_Q4_1;
    case QuantType::kQ5_0:
      return kInt_Q5_0;
    case QuantType::kQ5_1:
      return kInt_Q5_1;
    case QuantType::kQ8_0:
      return kInt_Q8_0;
    case QuantType::kQ2_K:
      return kInt_Q2_K;
    case QuantType::kQ3_K:
      return kInt_Q3_K;
    case QuantType::kQ4_K:
      return kInt_Q4_K;
    case QuantType::kQ5_K:
      return kInt_Q5_K;
    case QuantType::kQ6_K:
      return kInt_Q6_K;
    case QuantType::kIQ4_NL:
      return kInt_IQ4_NL;
    case QuantType::kIQ4_XS:
      return kInt_IQ4_XS;
    case QuantType::kMXFP4:
      return kInt_MXFP4;
    default:
      return std::nullopt;
  }
}

FloatFormat float_format(QuantType type) {
  switch (type) {
    case QuantType::kF16:
      return kFloat_F16;
    case QuantType::kBF16:
      return kFloat_BF16;
    case QuantType::kF8_E4M3:
      return kFloat_F8;
    default:
      CHECK(type == QuantType::kF32);
      return kFloat_F32;
  }
}

}  // namespace

// One projection as the threads see it.
struct CpuOps::Product {
  const IntegerKernels* integer = nullptr;  // or
  const FloatKernels* floating = nullptr;
  const MappedWeight* weight = nullptr;
  MappedWeight::Matrix matrix = {};
  Destination to = {};
  size_t first_run = 0;  // of all the runs of a call
};

struct CpuOps::MatmulPlan {
  std::array<Product, 4> products;
  size_t count = 0;
  size_t tokens = 0;
  bool few = false;  // gemv, not gemm
  bool quantized = false;
  DigitTokens digits = {};
  FloatTokens floats = {};
  std::byte* panels = nullptr;  // a thread's is panel_bytes long
  size_t panel_bytes = 0;
  size_t rows_a_run = 0, runs = 0;
};

void CpuOps::matmul(const MatmulArgs& args) {
  MatmulPlan plan;
  plan_matmul(args, plan);
  if (plan.tokens == 0 || !reserve_matmul(plan)) return;
  if (plan.quantized) {
    parallel(plan.tokens, rows_at_once(args.in.columns), [&](size_t first, size_t last, uint32_t) {
      for (size_t token = first; token < last; ++token) {
        const float* values = static_cast<const float*>(args.in.data) + token * args.in.row_stride;
        kernels_.quantize(values, args.in.columns, plan.digits, token);
      }
    });
  }
  parallel(plan.runs, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t run = first; run < last; ++run) multiply_run(plan, run, thread);
  });
}

void CpuOps::plan_matmul(const MatmulArgs& args, MatmulPlan& plan) const {
  check(args.in);
  const uint32_t columns = args.in.columns;
  plan.tokens = args.in.rows;
  plan.few = plan.tokens <= kGemvTokensMax;
  plan.floats = {static_cast<const float*>(args.in.data), columns, args.in.row_stride};
  plan.digits.columns = round_up(columns, 256);
  size_t rows = 0, bytes = 0;
  for (const Projection& projection : args.projections) {
    check(projection.weight);
    check(projection.out);
    const MappedWeight& weight = MappedWeight::of(projection.weight);
    const Tensor& out = projection.out;
    CHECK(weight.columns() == columns && weight.experts() == 1);
    CHECK(out.rows == plan.tokens && out.columns == weight.rows());
    Product& product = plan.products[plan.count++];
    product.weight = &weight;
    product.matrix = weight.expert(0);
    product.to = {.out = static_cast<float*>(out.data),
                  .stride = out.row_stride,
                  .bias = nullptr,
                  .add = args.store == Store::kAdd};
    if (projection.bias) {
      check(projection.bias);
      const auto bias = MappedWeight::of(projection.bias).vector();
      CHECK(bias.size() == weight.rows());
      product.to.bias = bias.data();
    }
    if (const auto format = integer_format(weight.type())) {
      product.integer = &kernels_.integer[*format];
      plan.quantized = true;
    } else {
      product.floating = &kernels_.floating[float_format(weight.type())];
    }
    rows += weight.rows();
    bytes += weight.rows() * weight.row_bytes();
  }
  // Whole panels, so that a gemm wastes none of its lanes.
  const size_t least = plan.few ? kRowsAtOnceLeast : kernels_.panel_rows;
  plan.rows_a_run = bytes * plan.tokens <= kAloneBytes
                        ? rows
                        : round_up(divide_up(rows, pool_.threads() * kRunsPerThread), least);
  for (size_t i = 0; i < plan.count; ++i) {
    plan.products[i].first_run = plan.runs;
    plan.runs += divide_up(plan.products[i].weight->rows(), plan.rows_a_run);
  }
}

bool CpuOps::reserve_matmul(MatmulPlan& plan) {
  const size_t columns = plan.digits.columns, tokens = plan.tokens;
  if (!plan.few) {
    plan.panel_bytes = kernels_.float_panel_bytes;
    if (plan.quantized) {
      plan.panel_bytes =
          std::max(plan.panel_bytes, kernels_.integer_panel_bytes_per_column * columns);
    }
    plan.panel_bytes = round_up(plan.panel_bytes, Arena::kLine);
  }
  Arena arena;
  const auto cut = [&] {
    plan.panels = arena.take<std::byte>(plan.panel_bytes * pool_.threads());
    if (!plan.quantized) return;
    plan.digits.high = arena.take<int8_t>(tokens * columns);
    plan.digits.low = arena.take<int8_t>(tokens * columns);
    plan.digits.scales = arena.take<float>(tokens * columns / 32);
    plan.digits.sums32 = arena.take<float>(tokens * columns / 32);
    plan.digits.sums16 = arena.take<float>(tokens * columns / 16);
  };
  cut();  // once to know the size, once to have the places
  std::byte* memory = reserve(scratch_, arena.used());
  if (memory == nullptr) return false;
  arena.start(memory);
  cut();
  return true;
}

void CpuOps::multiply_run(const MatmulPlan& plan, size_t run, uint32_t thread) const {
  size_t i = plan.count - 1;
  while (plan.products[i].first_run > run) --i;
  const Product& product = plan.products[i];
  const MappedWeight& weight = *product.weight;
  auto* panel = reinterpret_cast<uint8_t*>(plan.panels + thread * plan.panel_bytes);
  size_t first = (run - product.first_run) * plan.rows_a_run;
  const size_t end = std::min<size_t>(weight.rows(), first + plan.rows_a_run);
  while (first < end) {
    size_t last = end;
    RowScales scales = {};
    if (const ScaleGrid& grid = product.matrix.scales; grid.data != nullptr) {
      const size_t line = first / grid.rows_per_scale;
      last = std::min(end, (line + 1) * grid.rows_per_scale);
      scales = {grid.data + line * divide_up(weight.columns(), grid.columns_per_scale),
                grid.columns_per_scale};
    }
    const WeightRows rows = {
        reinterpret_cast<const uint8_t*>(product.matrix.data) + first * weight.row_bytes(),
        weight.row_bytes(), last - first};
    Destination to = product.to;
    to.out += first;
    if (to.bias != nullptr) to.bias += first;
    if (product.integer != nullptr && plan.few) {
      product.integer->gemv(rows, plan.digits, plan.tokens, to);
    } else if (product.integer != nullptr) {
      product.integer->gemm(rows, plan.digits, plan.tokens, panel, to);
    } else if (plan.few) {
      product.floating->gemv(rows, scales, plan.floats, plan.tokens, to);
    } else {
      product.floating->gemm(rows, scales, plan.floats, plan.tokens, panel, to);
    }
    first = last;
  }
}

}  // namespace hadal::cpu
