// The tensors of a model file by name. Every offset, extent and length has been checked against the
// file before an entry is made, so `data` may be read in full.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "quant/format.h"

namespace hadal {

struct TensorInfo {
  std::string name;
  QuantType type = QuantType::kF32;
  // Row-major, the way a person multiplies: `rows` output values, each a row of `columns` inputs;
  // `experts` such matrices stacked (1 if the file's tensor has at most two dimensions). A vector
  // of n values has rows 1, columns n.
  uint32_t experts = 1, rows = 1, columns = 1;
  uint32_t dimensions = 1;  // as the file counts them
  std::span<const std::byte>
      data;          // experts x rows x row_bytes(type, columns); a view into the mapped file
  std::string file;  // which file of a split model, for messages
};

// Ordered by name; iteration order is deterministic.
class TensorIndex {
 public:
  const TensorInfo* find(std::string_view name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second;
  }
  bool has(std::string_view name) const { return find(name) != nullptr; }
  bool insert(TensorInfo info) {  // false: a tensor of that name is there already
    std::string name = info.name;
    return tensors_.emplace(std::move(name), std::move(info)).second;
  }
  const std::map<std::string, TensorInfo, std::less<>>& tensors() const { return tensors_; }
  size_t size() const { return tensors_.size(); }

 private:
  std::map<std::string, TensorInfo, std::less<>> tensors_;
};

}  // namespace hadal
