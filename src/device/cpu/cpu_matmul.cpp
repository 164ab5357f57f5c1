// The matrix product.
#include "device/cpu/cpu_ops.h"
#include "device/cpu/cpu_weight.h"
#include "device/device.h"

namespace hadal::cpu {
namespace {

constexpr size_t kRowsAtOnce = 32;

}  // namespace

void CpuOps::matmul(const MatmulArgs& args) {
  check(args.in);
  const uint32_t tokens = args.in.rows, columns = args.in.columns;
  auto* rows = reinterpret_cast<float*>(
      reserve(scratch_, size_t{pool_.threads()} * columns * sizeof(float)));
  if (rows == nullptr) return;
  for (const Projection& projection : args.projections) {
    check(projection.weight);
    check(projection.out);
    const CpuWeight& weight = CpuWeight::of(projection.weight);
    const Tensor& out = projection.out;
    CHECK(weight.columns() == columns && weight.experts() == 1);
    CHECK(out.rows == tokens && out.columns == weight.rows());
    const float* bias = nullptr;
    if (projection.bias) {
      check(projection.bias);
      bias = CpuWeight::of(projection.bias).vector().data();
    }
    const CpuWeight::Matrix matrix = weight.expert(0);
    parallel(weight.rows(), kRowsAtOnce, [&](size_t first, size_t last, uint32_t thread) {
      float* values = rows + size_t{thread} * columns;
      for (size_t row = first; row < last; ++row) {
        weight.decode_row(matrix, static_cast<uint32_t>(row), values);
        for (uint32_t token = 0; token < tokens; ++token) {
          const float* in =
              static_cast<const float*>(args.in.data) + size_t{token} * args.in.row_stride;
          float* to = static_cast<float*>(out.data) + size_t{token} * out.row_stride + row;
          float sum = kernels_.dot(values, in, columns);
          if (bias != nullptr) sum += bias[row];
          if (args.store == Store::kAdd) sum += *to;
          *to = sum;
        }
      }
    });
  }
}

}  // namespace hadal::cpu
