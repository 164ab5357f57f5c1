#include "file/folder_model.h"

namespace hadal {

Result<std::unique_ptr<ModelFile>> FolderReader::open(const std::filesystem::path& folder,
                                                      ReadWhat) {
  return fail("{}: folders are not read", folder.string());
}

Result<std::unique_ptr<ModelFile>> FolderReader::open_around(const std::filesystem::path& file,
                                                             ReadWhat) {
  return fail("{}: folders are not read", file.string());
}

}  // namespace hadal
