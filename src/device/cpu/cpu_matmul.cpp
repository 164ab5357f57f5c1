// The matrix product: activations are quantised once a call, then rows of all projections are
// handed out to the threads in runs.
//
// For quantised weights an activation is the sum of two int8 terms: its rounding, and the rounding
// of what the first lost (about 15 bits together). With one term alone the error of a small model's
// outliers reaches the answer: SmolLM2's logits were off by a third of their spread, and its first
// word changed. The second term costs no memory traffic, so decoding hardly feels it.
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
  Int8Tokens tokens = {};
  const MappedWeight* weight = nullptr;
  MappedWeight::Matrix matrix = {};
  Destination to = {};
  size_t first_run = 0;  // of all the runs of a call
};

struct CpuOps::MatmulPlan {
  std::array<Product, 4> products;
  size_t count = 0;
  size_t tokens = 0;
  size_t terms = 0;  // int8 tokens: two for each token
  bool few = false;  // gemv, not gemm
  bool quantized = false;
  Int8Tokens int8 = {};
  FloatTokens floats = {};
  std::array<int32_t*, 4> offsets = {};  // of product i, or null
  float* remainders = nullptr;           // a thread's is `columns` long
  std::byte* panels = nullptr;           // a thread's is panel_bytes long
  size_t panel_bytes = 0;
  size_t rows_a_run = 0, runs = 0;
};

void CpuOps::matmul(const MatmulArgs& args) {
  MatmulPlan plan;
  plan_matmul(args, plan);
  if (plan.tokens == 0 || !reserve_matmul(plan)) return;
  if (plan.quantized) quantize(args.in, plan);
  parallel(plan.runs, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t run = first; run < last; ++run) multiply_run(plan, run, thread);
  });
}

void CpuOps::plan_matmul(const MatmulArgs& args, MatmulPlan& plan) const {
  check(args.in);
  const uint32_t columns = args.in.columns;
  plan.tokens = args.in.rows;
  plan.terms = 2 * plan.tokens;
  plan.few = plan.terms <= kGemvTokensMax;
  plan.floats = {static_cast<const float*>(args.in.data), columns, args.in.row_stride};
  plan.int8.columns = columns;
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
                  .add = args.store == Store::kAdd,
                  .pairs = false};
    if (projection.bias) {
      check(projection.bias);
      const auto bias = MappedWeight::of(projection.bias).vector();
      CHECK(bias.size() == weight.rows());
      product.to.bias = bias.data();
    }
    if (const auto format = integer_format(weight.type())) {
      product.integer = &kernels_.integer[*format];
      product.to.pairs = true;
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
  const size_t columns = plan.int8.columns, tokens = plan.terms;
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
    plan.remainders = arena.take<float>(columns * pool_.threads());
    plan.int8.values = arena.take<int8_t>(tokens * columns);
    plan.int8.scales = arena.take<float>(tokens * columns / 32);
    plan.int8.sums32 = arena.take<float>(tokens * columns / 32);
    plan.int8.sums16 = arena.take<float>(tokens * columns / 16);
    plan.int8.integer_sums = arena.take<int16_t>(tokens * columns / 16);
    for (size_t i = 0; i < plan.count; ++i) {
      const IntegerKernels* kernels = plan.products[i].integer;
      if (kernels == nullptr) continue;
      if ((plan.few ? kernels->gemv_offset : kernels->gemm_offset) == 0) continue;
      const size_t group = plan.few ? 32 : static_cast<size_t>(kernels->gemm_group);
      plan.offsets[i] = arena.take<int32_t>(tokens * columns / group);
    }
  };
  cut();  // once to know the size, once to have the places
  std::byte* memory = reserve(scratch_, arena.used());
  if (memory == nullptr) return false;
  arena.start(memory);
  cut();
  for (size_t i = 0; i < plan.count; ++i) {
    plan.products[i].tokens = plan.int8;
    plan.products[i].tokens.offsets = plan.offsets[i];
  }
  return true;
}

void CpuOps::quantize(const Tensor& in, const MatmulPlan& plan) {
  const size_t columns = plan.int8.columns;
  parallel(plan.tokens, rows_at_once(in.columns), [&](size_t first, size_t last, uint32_t thread) {
    float* remainder = plan.remainders + thread * columns;
    for (size_t token = 2 * first; token < 2 * last; ++token) {
      const float* values = static_cast<const float*>(in.data) + token / 2 * in.row_stride;
      kernels_.quantize(token % 2 == 0 ? values : remainder, plan.int8, token, remainder);
      for (size_t i = 0; i < plan.count; ++i) {
        if (plan.offsets[i] == nullptr) continue;
        const IntegerKernels& kernels = *plan.products[i].integer;
        const bool by_16 = !plan.few && kernels.gemm_group == 16;
        const int offset = plan.few ? kernels.gemv_offset : kernels.gemm_offset;
        const size_t groups = columns / (by_16 ? 16 : 32);
        const int16_t* sums = plan.int8.integer_sums + token * columns / 16;
        int32_t* offsets = plan.offsets[i] + token * groups;
        for (size_t g = 0; g < groups; ++g) {
          const int sum = by_16 ? sums[g] : sums[2 * g] + sums[2 * g + 1];
          offsets[g] = -offset * sum;
        }
      }
    }
  });
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
      product.integer->gemv(rows, product.tokens, plan.terms, to);
    } else if (product.integer != nullptr) {
      product.integer->gemm(rows, product.tokens, plan.terms, panel, to);
    } else if (plan.few) {
      product.floating->gemv(rows, scales, plan.floats, plan.tokens, to);
    } else {
      product.floating->gemm(rows, scales, plan.floats, plan.tokens, panel, to);
    }
    first = last;
  }
}

}  // namespace hadal::cpu
