// Attention by the kernels of what keys and values are kept as.
#pragma once

#include "device/cpu/kernels/table.h"
#include "device/tensor.h"

namespace hadal::cpu {

inline const CacheKernels& cache_kernels(const KernelTable& kernels, QuantType type) {
  switch (type) {
    case QuantType::kF32:
      return kernels.cache_f32;
    case QuantType::kF16:
      return kernels.cache_f16;
    case QuantType::kBF16:
      return kernels.cache_bf16;
    case QuantType::kQ8_0:
      return kernels.cache_q8_0;
    default:
      return kernels.cache_q4_0;
  }
}

struct Attend {
  decltype(CacheKernels::score) score;
  decltype(KernelTable::soften) soften;
  decltype(CacheKernels::add_values) add_values;

  Attend(const KernelTable& kernels, QuantType keys, QuantType values)
      : score(cache_kernels(kernels, keys).score),
        soften(kernels.soften),
        add_values(cache_kernels(kernels, values).add_values) {}

  // A run of positions more for a tile.
  void operator()(const AttentionTile& tile, const AttentionRun& run) const {
    score(tile, run);
    soften(tile, run);
    add_values(tile, run);
  }
};

}  // namespace hadal::cpu
