// The cache that Hugging Face's own Python client keeps (huggingface_hub, read in version 2.4):
// what it has fetched is used in place, what hadal fetches it finds.
//
//   models--OWNER--NAME/blobs/DIGEST            the bytes: sha256 of large files, git's SHA-1 of
//   small ones models--OWNER--NAME/snapshots/COMMIT/PATH   links to them
//   models--OWNER--NAME/refs/REVISION           the commit that a branch or tag was last seen at
//   .locks/models--OWNER--NAME/DIGEST.lock      held (flock) by whoever fetches that blob
//
// Names must have passed the checks of hub_names.h. Any thread; keeps nothing but the folder's
// path.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/sites/hub_listing.h"

namespace hadal {

class HuggingFaceCache {
 public:
  explicit HuggingFaceCache(std::filesystem::path root) : root_(std::move(root)) {}
  const std::filesystem::path& root() const { return root_; }

  std::filesystem::path repository_folder(const std::string& repository) const;
  std::filesystem::path blob(const std::string& repository, const Digest& digest) const;
  std::filesystem::path lock(const std::string& repository, const Digest& digest) const;
  std::filesystem::path snapshot(const std::string& repository, const std::string& commit) const;

  // The commit a revision was last seen at; the revision itself if it is a commit.
  std::optional<std::string> commit(const std::string& repository,
                                    const std::string& revision) const;
  // The files of a snapshot whose bytes are there, as a listing without digests; nullopt: no such
  // snapshot.
  std::optional<Listing> cached_files(const std::string& repository,
                                      const std::string& commit) const;
  bool has_blob(const std::string& repository, const HubFile& file) const;  // of the right size
  std::vector<std::string> repositories() const;                            // of models, sorted

  // A blob that is there gets its name in the snapshot (an existing right one stays).
  Status link(const std::string& repository, const std::string& commit, const HubFile& file) const;
  Status set_ref(const std::string& repository, const std::string& revision,
                 const std::string& commit) const;
  // Marks the folder as a cache for backup programs (CACHEDIR.TAG), as the client does.
  Status prepare() const;

  // Takes a file out of a snapshot, and its blob too unless another snapshot has it. Bytes freed.
  Result<uint64_t> remove(const std::filesystem::path& pointer) const;

 private:
  std::filesystem::path root_;
};

}  // namespace hadal
