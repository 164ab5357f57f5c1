#include "file/describe.h"

#include <algorithm>

namespace hadal {

ModelSummary summarize(const ModelFile& model) {
  ModelSummary summary;
  for (const QuantFormat& format : quant_formats()) summary.types.push_back({.type = format.type});
  for (const auto& [name, tensor] : model.tensors().tensors()) {
    const auto entry =
        std::find_if(summary.types.begin(), summary.types.end(),
                     [&](const TypeSummary& type) { return type.type == tensor.type; });
    // In range: the reader has checked the product of the sizes of each tensor. The sum over a
    // million tensors that a hostile header makes up may wrap; it is shown to a person and decides
    // nothing.
    const uint64_t rows = uint64_t{tensor.experts} * tensor.rows;
    const uint64_t values = name.ends_with("_scale_inv") ? 0 : rows * tensor.columns;
    entry->tensors += 1;
    entry->parameters += values;
    entry->bytes += rows * row_bytes(tensor.type, tensor.columns);
  }
  std::erase_if(summary.types, [](const TypeSummary& type) { return type.tensors == 0; });
  std::stable_sort(summary.types.begin(), summary.types.end(),
                   [](const TypeSummary& a, const TypeSummary& b) { return a.bytes > b.bytes; });
  for (const TypeSummary& type : summary.types) {
    summary.tensors += type.tensors;
    summary.parameters += type.parameters;
    summary.tensor_bytes += type.bytes;
  }
  if (summary.parameters > 0) {
    summary.bits_per_weight =
        8.0 * static_cast<double>(summary.tensor_bytes) / static_cast<double>(summary.parameters);
  }
  return summary;
}

}  // namespace hadal
