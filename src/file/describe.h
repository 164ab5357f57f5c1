// What can be said of a model file without knowing its architecture: how large it is and how its
// values are stored.
#pragma once

#include <cstdint>
#include <vector>

#include "file/model_file.h"
#include "quant/format.h"

namespace hadal {

struct TypeSummary {
  QuantType type = QuantType::kF32;
  uint64_t tensors = 0, parameters = 0, bytes = 0;
};

struct ModelSummary {
  std::vector<TypeSummary>
      types;  // the one with most bytes first; equal ones in the order of quant_formats()
  uint64_t tensors = 0;
  uint64_t parameters =
      0;  // values; the block scales of FP8 weights ("..._scale_inv") are none, but count as bytes
  uint64_t tensor_bytes = 0;
  double bits_per_weight = 0;  // tensor_bytes x 8 / parameters; 0 without parameters
};

ModelSummary summarize(const ModelFile& model);

}  // namespace hadal
