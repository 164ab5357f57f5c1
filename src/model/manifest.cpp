#include "model/manifest.h"

namespace hadal {

std::string piece_name(const TensorSpec& spec, uint32_t piece) {
  if (spec.pieces == 1) return spec.name;
  const size_t star = spec.name.find('*');
  CHECK(star != std::string::npos);
  return spec.name.substr(0, star) + std::to_string(piece) + spec.name.substr(star + 1);
}

std::vector<const TensorInfo*> find_pieces(const TensorSpec& spec, const TensorIndex& tensors) {
  std::vector<const TensorInfo*> found;
  for (uint32_t piece = 0; piece < spec.pieces; ++piece) {
    const TensorInfo* info = tensors.find(piece_name(spec, piece));
    if (info == nullptr) return {};
    found.push_back(info);
  }
  return found;
}

}  // namespace hadal
