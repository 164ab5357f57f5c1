// A GGUF model as a ModelFile: one file, or the parts of a split one (name-00001-of-00003.gguf
// ...).
//
// A part of a split says so in its header: split.count parts, split.no its number from 0,
// split.tensors.count tensors in all. The first part alone carries the metadata; each carries its
// own tensors.
#pragma once

#include <memory>

#include "base/mapped_file.h"
#include "base/result.h"
#include "file/model_file.h"

namespace hadal {

inline constexpr uint64_t kGgufPartsMax = 1024;

struct GgufReader {
  // `mapping` is the file that `path` names, which may be any part of a split.
  static Result<std::unique_ptr<ModelFile>> open(const std::filesystem::path& path,
                                                 std::unique_ptr<MappedFile> mapping,
                                                 ReadWhat what);
};

}  // namespace hadal
