// The cache that ModelScope's Python client keeps (modelscope-hub, read in version 0.5): its files
// are used in place; nothing is written there, and its index (a pickle of older versions) is not
// read.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/sites/hub_listing.h"

namespace hadal {

class ModelScopeCache {
 public:
  explicit ModelScopeCache(std::filesystem::path root) : root_(std::move(root)) {}
  const std::filesystem::path& root() const { return root_; }

  // Folders that may hold this repository's files, those that exist:
  // models/OWNER--NAME/snapshots/REVISION, and of versions before 1.38 models/OWNER/NAME and
  // hub/models/OWNER/NAME with '.' as "___".
  std::vector<std::filesystem::path> folders(const std::string& repository,
                                             const std::string& revision) const;
  // A regular file of that name and size; its digest is for the caller to check.
  std::optional<std::filesystem::path> find(const std::string& repository,
                                            const std::string& revision, const HubFile& file) const;
  // What lies in the first of the folders, without digests.
  std::optional<Listing> cached_files(const std::string& repository,
                                      const std::string& revision) const;

 private:
  std::filesystem::path root_;
};

}  // namespace hadal
