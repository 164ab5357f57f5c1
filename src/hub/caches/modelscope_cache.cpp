#include "hub/caches/modelscope_cache.h"

#include <algorithm>
#include <system_error>

namespace hadal {

namespace fs = std::filesystem;

std::vector<fs::path> ModelScopeCache::folders(const std::string& repository,
                                               const std::string& revision) const {
  const size_t slash = repository.find('/');
  const std::string owner = repository.substr(0, slash), name = repository.substr(slash + 1);
  std::string old_name;
  for (const char c : name) old_name += c == '.' ? std::string("___") : std::string(1, c);
  std::vector<fs::path> found;
  for (const fs::path& folder :
       {root_ / "models" / (owner + "--" + name) / "snapshots" / revision,
        root_ / "models" / owner / old_name, root_ / "hub/models" / owner / old_name}) {
    std::error_code error;
    if (fs::is_directory(folder, error)) found.push_back(folder);
  }
  return found;
}

std::optional<fs::path> ModelScopeCache::find(const std::string& repository,
                                              const std::string& revision,
                                              const HubFile& file) const {
  for (const fs::path& folder : folders(repository, revision)) {
    std::error_code error;
    const fs::path path = folder / file.path;
    if (fs::is_regular_file(path, error) && fs::file_size(path, error) == file.bytes && !error)
      return path;
  }
  return std::nullopt;
}

std::optional<Listing> ModelScopeCache::cached_files(const std::string& repository,
                                                     const std::string& revision) const {
  constexpr size_t kEntriesMax = 100000;
  const auto found = folders(repository, revision);
  if (found.empty()) return std::nullopt;
  Listing listing;
  listing.revision = revision;
  std::error_code error;
  size_t looked_at = 0;
  fs::recursive_directory_iterator entry(found.front(),
                                         fs::directory_options::skip_permission_denied, error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    if (++looked_at > kEntriesMax || entry.depth() > static_cast<int>(kPathDepthMax)) break;
    std::error_code ignored;
    if (!entry->is_regular_file(ignored)) continue;
    if (!listing.add({.path = entry->path().lexically_relative(found.front()).string(),
                      .bytes = entry->file_size(ignored),
                      .digest = {}}))
      break;
  }
  std::sort(listing.files.begin(), listing.files.end(),
            [](const HubFile& a, const HubFile& b) { return a.path < b.path; });
  return listing;
}

}  // namespace hadal
