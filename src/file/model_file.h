// A model on disk, whatever its form: a GGUF (one file or a split, any part of which may be named),
// or a Hugging Face folder (config.json beside safetensors). Owns the mappings; metadata and
// tensors are views that live as long as it does. Read-only after open; any thread may read.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "file/metadata.h"
#include "file/tensor_index.h"

namespace hadal {

enum class ReadWhat : uint8_t {
  kEverything,  // every tensor's bytes must be in the file
  kHeaderOnly,  // `show`: a file that ends early is described, missing_bytes says how much is
                // missing, and each TensorInfo::data that does not lie wholly in the file is empty
};

class ModelFile {
 public:
  // Errors: a sentence that names the file and what it is instead of a model (a Git-LFS pointer, an
  // HTML page, a truncated download with both sizes, an unknown version, a folder without
  // config.json ...) and what to do.
  static Result<std::unique_ptr<ModelFile>> open(const std::filesystem::path& path,
                                                 ReadWhat what = ReadWhat::kEverything);

  const std::filesystem::path& path() const { return path_; }
  const Metadata& metadata() const { return metadata_; }
  const TensorIndex& tensors() const { return tensors_; }
  Dialect dialect() const { return metadata_.dialect(); }

  // "llama", "qwen2", ...: general.architecture of a GGUF, model_type of a config.json.
  Result<std::string> architecture() const;

  uint64_t file_bytes() const { return file_bytes_; }        // on disk, all parts
  uint64_t missing_bytes() const { return missing_bytes_; }  // only with kHeaderOnly; else 0
  const std::vector<std::filesystem::path>& files() const { return files_; }
  const std::vector<std::string>& warnings() const { return warnings_; }  // a sentence each
  // "GGUF version 3", "GGUF version 3, 2 parts", "Hugging Face folder, 4 safetensors"
  const std::string& description() const { return form_; }

  // The text of a file beside the weights in a Hugging Face folder (tokenizer.json ...). Absent:
  // nullopt. Only plain names (no path) are taken; size is limited to kSideFileBytesMax.
  Result<std::optional<std::string>> side_file(std::string_view name) const;
  static constexpr uint64_t kSideFileBytesMax = 256ull << 20;

 private:
  friend struct GgufReader;
  friend struct FolderReader;
  explicit ModelFile(std::filesystem::path path, Dialect dialect)
      : path_(std::move(path)), metadata_(path_.string(), dialect) {}

  std::filesystem::path path_;
  std::string form_;
  std::vector<std::filesystem::path> files_;
  std::vector<std::unique_ptr<MappedFile>> mappings_;
  std::vector<std::unique_ptr<std::string>>
      owned_strings_;  // of JSON metadata, which is not a view into a mapping
  Metadata metadata_;
  TensorIndex tensors_;
  uint64_t file_bytes_ = 0, missing_bytes_ = 0;
  std::vector<std::string> warnings_;
};

}  // namespace hadal
