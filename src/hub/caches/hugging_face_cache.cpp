#include "hub/caches/hugging_face_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "file/text_file.h"
#include "hub/disk/durable_file.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFolderHead = "models--";
constexpr const char* kLocks = ".locks";
// Where small files are written before they get their names: among the locks, where the client
// looks for nothing. In refs/ it would take one that a killed process left for a branch.
constexpr const char* kTemporary = "hadal.tmp";
constexpr size_t kEntriesMax = 100000;  // of a folder walked, so that no cache takes for ever

std::string folder_name(const std::string& repository) {
  const size_t slash = repository.find('/');
  return std::string(kFolderHead) + repository.substr(0, slash) + "--" +
         repository.substr(slash + 1);
}

// "models--a--b" -> "a/b"
std::optional<std::string> repository_name(const std::string& folder) {
  if (!folder.starts_with(kFolderHead)) return std::nullopt;
  const size_t dashes = folder.find("--", kFolderHead.size());
  if (dashes == std::string::npos) return std::nullopt;
  std::string name = folder.substr(kFolderHead.size(), dashes - kFolderHead.size()) + "/" +
                     folder.substr(dashes + 2);
  if (!check_repository(name)) return std::nullopt;
  return name;
}

}  // namespace

fs::path HuggingFaceCache::repository_folder(const std::string& repository) const {
  return root_ / folder_name(repository);
}

fs::path HuggingFaceCache::blob(const std::string& repository, const Digest& digest) const {
  return repository_folder(repository) / "blobs" / digest.hex;
}

fs::path HuggingFaceCache::lock(const std::string& repository, const Digest& digest) const {
  return root_ / kLocks / folder_name(repository) / (digest.hex + ".lock");
}

fs::path HuggingFaceCache::snapshot(const std::string& repository,
                                    const std::string& commit) const {
  return repository_folder(repository) / "snapshots" / commit;
}

std::optional<std::string> HuggingFaceCache::commit(const std::string& repository,
                                                    const std::string& revision) const {
  if (is_commit(revision)) return revision;
  const auto text = read_text_file(repository_folder(repository) / "refs" / revision, 256);
  if (!text || !*text) return std::nullopt;
  std::string commit = **text;
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
  if (!is_commit(commit)) return std::nullopt;
  return commit;
}

std::optional<Listing> HuggingFaceCache::cached_files(const std::string& repository,
                                                      const std::string& commit) const {
  const fs::path folder = snapshot(repository, commit);
  std::error_code error;
  if (!fs::is_directory(folder, error)) return std::nullopt;
  Listing listing;
  listing.revision = commit;
  size_t looked_at = 0;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied,
                                         error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    if (++looked_at > kEntriesMax || entry.depth() > static_cast<int>(kPathDepthMax)) break;
    std::error_code ignored;
    if (!entry->is_regular_file(ignored)) continue;  // follows the link: a dangling one is no file
    if (!listing.add({.path = entry->path().lexically_relative(folder).string(),
                      .bytes = entry->file_size(ignored),
                      .digest = {}}))
      break;
  }
  std::sort(listing.files.begin(), listing.files.end(),
            [](const HubFile& a, const HubFile& b) { return a.path < b.path; });
  return listing;
}

bool HuggingFaceCache::has_blob(const std::string& repository, const HubFile& file) const {
  std::error_code error;
  const fs::path path = blob(repository, file.digest);
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == file.bytes && !error;
}

std::vector<std::string> HuggingFaceCache::repositories() const {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(root_, error);
  for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
    if (auto name = repository_name(entry->path().filename().string()))
      names.push_back(std::move(*name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status HuggingFaceCache::prepare() const {
  HADAL_TRY_VOID(make_folders(root_));
  const fs::path tag = root_ / "CACHEDIR.TAG";
  std::error_code error;
  if (fs::exists(tag, error)) return {};
  HADAL_TRY_VOID(make_folders(root_ / kLocks));
  return write_durably(tag, root_ / kLocks / kTemporary,
                       "Signature: 8a477f597d28d172789f06886806bc55\n"
                       "# A cache of models from Hugging Face; see https://bford.info/cachedir/\n");
}

Status HuggingFaceCache::link(const std::string& repository, const std::string& commit,
                              const HubFile& file) const {
  const fs::path pointer = snapshot(repository, commit) / file.path;
  const fs::path target = blob(repository, file.digest).lexically_relative(pointer.parent_path());
  std::error_code error;
  if (fs::is_symlink(pointer, error) && fs::read_symlink(pointer, error) == target) return {};
  HADAL_TRY_VOID(make_folders(pointer.parent_path()));
  // Not through a name beside it: the client would take one that a killed process left for a file
  // of the model.
  ::unlink(pointer.c_str());
  if (symlink(target.c_str(), pointer.c_str()) == 0) return {};
  if (errno == EEXIST) return {};  // somebody else made it just now
  if (errno != EPERM && errno != EOPNOTSUPP)
    return fail("{}", describe_write_error(errno, pointer));
  // A file system without links: the client keeps the file itself in the snapshot there.
  fs::create_hard_link(blob(repository, file.digest), pointer, error);
  if (error) return move_durably(blob(repository, file.digest), pointer);
  return {};
}

Status HuggingFaceCache::set_ref(const std::string& repository, const std::string& revision,
                                 const std::string& commit) const {
  if (revision == commit || this->commit(repository, revision) == commit) return {};
  const fs::path path = repository_folder(repository) / "refs" / revision;
  const fs::path locks = root_ / kLocks / folder_name(repository);
  HADAL_TRY_VOID(make_folders(path.parent_path()));
  HADAL_TRY_VOID(make_folders(locks));
  return write_durably(path, locks / kTemporary, commit);
}

Result<uint64_t> HuggingFaceCache::remove(const fs::path& pointer) const {
  std::error_code error;
  const fs::path relative = pointer.lexically_relative(root_);
  if (relative.empty() || *relative.begin() == "..")
    return fail("{} does not lie in {}", pointer.string(), root_.string());
  const fs::path repository = root_ / *relative.begin();
  fs::path bytes;
  if (fs::is_symlink(pointer, error)) {
    bytes = (pointer.parent_path() / fs::read_symlink(pointer, error)).lexically_normal();
  }
  const uint64_t size = fs::file_size(pointer, error);
  if (!fs::remove(pointer, error) && error)
    return fail("cannot delete {}: {}", pointer.string(), error.message());
  // Folders that are empty now go too, up to "snapshots".
  for (fs::path folder = pointer.parent_path();
       folder != repository / "snapshots" && folder != repository; folder = folder.parent_path()) {
    if (!fs::remove(folder, error)) break;
  }
  if (bytes.empty() || bytes.parent_path() != repository / "blobs") return bytes.empty() ? size : 0;
  fs::recursive_directory_iterator entry(repository / "snapshots", error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_symlink(ignored)) continue;
    const fs::path other =
        (entry->path().parent_path() / fs::read_symlink(entry->path(), ignored)).lexically_normal();
    if (other == bytes) return 0;
  }
  fs::remove(bytes, error);
  return error ? 0 : size;
}

}  // namespace hadal
