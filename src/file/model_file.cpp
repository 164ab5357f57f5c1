#include "file/model_file.h"

#include <algorithm>
#include <system_error>

#include "file/folder_model.h"
#include "file/gguf_model.h"
#include "file/text_file.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

// A name that belongs to a Hugging Face folder: its weights and lists have no meaning without the
// rest.
bool lies_in_a_folder(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".json" || extension == ".safetensors";
}

}  // namespace

Result<std::unique_ptr<ModelFile>> ModelFile::open(const fs::path& path, ReadWhat what) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found)
    return fail("{}: no such file or folder", path.string());
  if (fs::is_directory(status)) return FolderReader::open(path, what);
  if (lies_in_a_folder(path) && fs::is_regular_file(status))
    return FolderReader::open_around(path, what);
  HADAL_TRY(auto mapping, MappedFile::open(path));
  return GgufReader::open(path, std::move(mapping), what);
}

Result<std::string> ModelFile::architecture() const {
  const bool gguf = dialect() == Dialect::kGguf;
  HADAL_TRY(const auto name, metadata_.string(gguf ? "general.architecture" : "model_type"));
  return std::string(name);
}

Result<std::optional<std::string>> ModelFile::side_file(std::string_view name) const {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos) {
    return fail("{}: a file beside the weights is named by a plain name, without a path",
                path_.string());
  }
  if (dialect() != Dialect::kHuggingFace) return std::nullopt;
  return read_text_file(path_ / name, kSideFileBytesMax);
}

}  // namespace hadal
