// What a hub says lies in a repository: its JSON, read with every limit and checked entry by entry.
// Nothing here reaches the network or the disk. A file whose name, size or digest breaks a rule of
// hub_names.h is left out and counted: it is refused only if somebody needs it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/names/hub_names.h"

namespace hadal {

inline constexpr uint64_t kListingBytesMax = 32 << 20;  // of one answer
inline constexpr size_t kListingFilesMax = 20000;
inline constexpr uint32_t kListingPagesMax = 64;

struct HubFile {
  std::string path;
  uint64_t bytes = 0;
  Digest digest;  // kNone: the hub does not say
};

struct Listing {
  std::string revision;  // Hugging Face: the commit; ModelScope: as asked for
  std::vector<HubFile> files;
  std::vector<std::string> refused;  // why, a sentence each, kRefusedShownMax at most
  uint64_t refused_count = 0;
  static constexpr size_t kRefusedShownMax = 8;

  // Adds a file, or counts it as refused. Error: more than kListingFilesMax.
  Status add(HubFile file);
  void refuse(const Error& why);
};

// `/api/models/OWNER/NAME/revision/REVISION`: the commit. `from` names the text in messages.
Result<std::string> read_hugging_face_commit(std::string_view json, const std::string& from);
// `/api/models/OWNER/NAME/tree/COMMIT?recursive=true`: one page, added to `listing`.
Status read_hugging_face_tree(std::string_view json, const std::string& from, Listing& listing);
// ModelScope's `/api/v1/models/OWNER/NAME/repo/files`.
Status read_modelscope_files(std::string_view json, const std::string& from, Listing& listing);

}  // namespace hadal
