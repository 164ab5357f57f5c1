// The matrix product: activations are quantised once a call, then rows of all projections are
// handed out to the threads in runs.
//
// For quantised weights an activation is a number of two int8 digits. Of few tokens both are always
// multiplied (about 15 bits): that costs no memory traffic, so decoding hardly feels it. Of many
// tokens the second product would double the work: there the low digit holds all but the outliers,
// a block's step is a part of its root mean square and not of its greatest value, and only outliers
// have a high digit. With one digit alone, and steps that outliers set, SmolLM2's logits were off
// by a third of their spread. What becomes of the weights meanwhile: kernels/byte_tile.h,
// kernels/nibble_tile.h, kernels/group_tile.h.
#include "base/sizes.h"
#include "device/cpu/arena.h"
#include "device/cpu/cpu_ops.h"
#include "device/cpu/product.h"
#include "device/device.h"
#include "device/mapped_weight.h"

namespace hadal::cpu {
namespace {

constexpr size_t kRunsPerThread = 32;     // the last one that a thread takes delays nobody long
constexpr size_t kRowsAtOnceLeast = 16;   // fewer are not worth taking
constexpr size_t kAloneBytes = 16 << 10;  // weights that one thread reads before another wakes

}  // namespace

// One projection as the threads see it.
struct CpuOps::Product {
  StoredMatrix matrix;
  Destination to = {};
  size_t first_run = 0;  // of all the runs of a call
};

struct CpuOps::MatmulPlan {
  std::array<Product, 4> products;
  size_t count = 0;
  bool quantized = false;
  Activations in;
  std::byte* panels = nullptr;  // a thread's is panel_bytes long
  size_t panel_bytes = 0;
  size_t rows_a_run = 0, runs = 0;
};

void CpuOps::matmul(const MatmulArgs& args) {
  MatmulPlan plan;
  plan_matmul(args, plan);
  if (plan.in.tokens == 0 || !reserve_matmul(plan)) return;
  if (plan.quantized) quantize_rows(args.in, plan.in);
  parallel(plan.runs, 1, [&](size_t first, size_t last, uint32_t thread) {
    multiply_runs(plan, first, last, thread);
  });
}

void CpuOps::quantize_rows(const Tensor& in, const Activations& to) {
  parallel(in.rows, rows_at_once(in.columns), [&](size_t first, size_t last, uint32_t) {
    for (size_t token = first; token < last; ++token) {
      const float* values = static_cast<const float*>(in.data) + token * in.row_stride;
      quantize(kernels_, to.tokens, values, in.columns, to.digits, token);
    }
  });
}

void CpuOps::plan_matmul(const MatmulArgs& args, MatmulPlan& plan) const {
  check(args.in);
  const uint32_t columns = args.in.columns;
  plan.in.tokens = args.in.rows;
  plan.in.floats = {static_cast<const float*>(args.in.data), columns, args.in.row_stride};
  size_t rows = 0, bytes = 0;
  for (const Projection& projection : args.projections) {
    check(projection.weight);
    check(projection.out);
    const MappedWeight& weight = MappedWeight::of(projection.weight);
    const Tensor& out = projection.out;
    CHECK(weight.columns() == columns && weight.experts() == 1);
    CHECK(out.rows == args.in.rows && out.columns == weight.rows());
    Product& product = plan.products[plan.count++];
    product.matrix = StoredMatrix(kernels_, weight, 0);
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
    plan.quantized |= product.matrix.takes_digits();
    rows += weight.rows();
    bytes += weight.rows() * weight.row_bytes();
  }
  // Whole panels, so that a gemm wastes none of its lanes.
  const size_t least = plan.in.few() ? kRowsAtOnceLeast : kernels_.panel_rows;
  plan.rows_a_run = bytes * plan.in.tokens <= kAloneBytes
                        ? rows
                        : round_up(divide_up(rows, pool_.threads() * kRunsPerThread), least);
  for (size_t i = 0; i < plan.count; ++i) {
    plan.products[i].first_run = plan.runs;
    plan.runs += divide_up(plan.products[i].matrix.rows(), plan.rows_a_run);
  }
}

bool CpuOps::reserve_matmul(MatmulPlan& plan) {
  const size_t columns = plan.in.floats.columns;
  plan.panel_bytes = plan.in.few() ? 0 : panel_bytes(kernels_);
  return cut_scratch(scratch_, [&](Arena& arena) {
    plan.panels = arena.take<std::byte>(plan.panel_bytes * pool_.threads());
    if (plan.quantized) plan.in.digits = take_digits(arena, columns, plan.in.tokens);
  });
}

// Runs of a product that lie behind one another are one stretch of memory.
void CpuOps::multiply_runs(const MatmulPlan& plan, size_t first, size_t last,
                           uint32_t thread) const {
  for (size_t i = 0; i < plan.count; ++i) {
    const Product& product = plan.products[i];
    const size_t start = product.first_run, rows = product.matrix.rows();
    const size_t end = start + divide_up(rows, plan.rows_a_run);
    if (last <= start || first >= end) continue;
    const size_t first_row = (std::max(first, start) - start) * plan.rows_a_run;
    const size_t last_row = std::min(rows, (std::min(last, end) - start) * plan.rows_a_run);
    Destination to = product.to;
    to.out += first_row;
    if (to.bias != nullptr) to.bias += first_row;
    product.matrix.multiply(first_row, last_row, plan.in, plan.panels + thread * plan.panel_bytes,
                            to);
  }
}

}  // namespace hadal::cpu
