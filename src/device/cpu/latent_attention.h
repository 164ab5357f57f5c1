// What the two forms of latent attention share (cpu_latent_attention.cpp, cpu_latent_expanded.cpp).
#pragma once

#include "device/cpu/cpu_ops.h"
#include "device/device.h"

namespace hadal::cpu {

struct LatentWidths {
  uint32_t latent, nope, shared, value;

  explicit LatentWidths(const LatentAttentionArgs& args)
      : latent(args.keys.inputs()),
        nope(args.keys.outputs()),
        shared(args.query.columns / args.heads - args.keys.outputs()),
        value(args.values.outputs()) {}
  uint32_t query() const { return nope + shared; }
  uint32_t row() const { return latent + shared; }
};

// Each head's matrix times its part of `in`.
struct CpuOps::HeadProducts {
  const HeadMatrices& matrices;
  uint32_t first_head, heads;
  Tensor in;  // head first_head + i has the columns from i * in_step on; 0: all have the same
  uint32_t in_step;
  Tensor out;  // as `in`
  uint32_t out_step;
};

inline float* row_of(const Tensor& tensor, size_t row) {
  return static_cast<float*>(tensor.data) + row * tensor.row_stride;
}

// A tensor of floats, from an arena that has started or not.
inline Tensor take_tensor(Arena& arena, Device& device, size_t rows, size_t columns) {
  Tensor tensor = {.device = &device, .rows = static_cast<uint32_t>(rows)};
  tensor.columns = tensor.row_stride = static_cast<uint32_t>(columns);
  tensor.data = arena.take<float>(rows * columns);
  return tensor;
}

}  // namespace hadal::cpu
