// A Hugging Face folder as a ModelFile: config.json (and generation_config.json, under
// "generation.") as metadata, and the tensors of model.safetensors or of the shards that
// model.safetensors.index.json lists.
#pragma once

#include <memory>

#include "base/result.h"
#include "file/model_file.h"

namespace hadal {

struct FolderReader {
  static Result<std::unique_ptr<ModelFile>> open(const std::filesystem::path& folder,
                                                 ReadWhat what);

  // A file of such a folder stands for the folder; weights that the folder's own list does not use
  // are refused.
  static Result<std::unique_ptr<ModelFile>> open_around(const std::filesystem::path& file,
                                                        ReadWhat what);
};

}  // namespace hadal
