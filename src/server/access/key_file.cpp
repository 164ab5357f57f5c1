#include "server/access/key_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/file_descriptor.h"
#include "base/json.h"
#include "file/json_tree.h"
#include "file/text_file.h"

namespace hadal {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int kDepthMax = 4, kVersion = 1;

Result<uint32_t> limit_of(const json& entry, const char* name) {
  const auto found = entry.find(name);
  if (found == entry.end()) return 0u;
  if (!found->is_number_unsigned() || found->get<uint64_t>() > UINT32_MAX) {
    return fail("{} is no whole number below 4294967296", name);
  }
  return found->get<uint32_t>();
}

Result<StoredKey> read_key(const json& entry) {
  StoredKey key;
  if (!entry.is_object()) return fail("an entry is no object");
  const auto name = entry.find("name"), digest = entry.find("sha256"),
             created = entry.find("created");
  if (name == entry.end() || !name->is_string() ||
      !is_key_name(name->get_ref<const std::string&>()))
    return fail("an entry has no name of letters, digits, '.', '_' and '-'");
  key.name = name->get<std::string>();
  if (digest == entry.end() || !digest->is_string() ||
      !from_hex(digest->get_ref<const std::string&>(), key.digest))
    return fail("{}: sha256 is not 64 hexadecimal digits", key.name);
  HADAL_TRY(key.limits.requests_per_minute, limit_of(entry, "requests_per_minute"));
  HADAL_TRY(key.limits.tokens_per_minute, limit_of(entry, "tokens_per_minute"));
  HADAL_TRY(key.limits.concurrent, limit_of(entry, "concurrent"));
  if (created != entry.end() && created->is_number_integer()) {
    key.created_unix_seconds = created->get<int64_t>();
  }
  return key;
}

std::string written(const std::vector<StoredKey>& keys) {
  json list = json::array();
  for (const StoredKey& key : keys) {
    list.push_back({{"name", key.name},
                    {"sha256", to_hex(key.digest)},
                    {"requests_per_minute", key.limits.requests_per_minute},
                    {"tokens_per_minute", key.limits.tokens_per_minute},
                    {"concurrent", key.limits.concurrent},
                    {"created", key.created_unix_seconds}});
  }
  return json{{"version", kVersion}, {"keys", std::move(list)}}.dump(1) + "\n";
}

tl::unexpected<Error> cannot_write(const fs::path& path) {
  return fail("{} cannot be written: {}. HADAL_HOME names another folder for it", path.string(),
              std::strerror(errno));
}

// A new file for its owner alone. What root makes in another user's folder is that user's, or the
// service it is for could not read it. Never a file that is there: who owns the folder may have put
// a link to another one in its place.
FileDescriptor make_private(const fs::path& path) {
  FileDescriptor file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.open() || fchmod(file.number(), 0600) != 0) return FileDescriptor();
  struct stat folder {};
  if (geteuid() == 0 && ::stat(path.parent_path().c_str(), &folder) == 0 && folder.st_uid != 0 &&
      fchown(file.number(), folder.st_uid, folder.st_gid) != 0) {
    return FileDescriptor();
  }
  return file;
}

FileDescriptor open_lock(const fs::path& path) {
  FileDescriptor made = make_private(path);
  if (made.open() || errno != EEXIST) return made;
  return FileDescriptor(::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
}

Status write_whole(const fs::path& path, const std::string& text) {
  const fs::path beside = path.string() + ".new";
  {
    ::unlink(beside.c_str());  // of a change that was cut short
    const FileDescriptor file = make_private(beside);
    if (!file.open()) return cannot_write(beside);
    for (size_t at = 0; at < text.size();) {
      const ssize_t count = ::write(file.number(), text.data() + at, text.size() - at);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return cannot_write(beside);
      at += static_cast<size_t>(count);
    }
    if (fsync(file.number()) != 0) return cannot_write(beside);
  }
  if (std::rename(beside.c_str(), path.c_str()) != 0) return cannot_write(path);
  const FileDescriptor folder(
      ::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.open()) (void)fsync(folder.number());  // some file systems know no flush of folders
  return {};
}

}  // namespace

Result<std::vector<StoredKey>> read_keys(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail("others may write {}, so it says nothing about who may ask. chmod 600 {}",
                path.string(), path.string());
  }
  HADAL_TRY(const auto text, read_text_file(path, kKeyFileBytesMax));
  std::vector<StoredKey> keys;
  if (!text) return keys;
  HADAL_TRY(const json tree, read_json_tree(*text, path.string(), kDepthMax));
  const auto version = tree.is_object() ? tree.find("version") : tree.end();
  const auto list = tree.is_object() ? tree.find("keys") : tree.end();
  if (version == tree.end() || *version != kVersion || list == tree.end() || !list->is_array()) {
    return fail("{} is no file of keys as `hadal key` writes it", path.string());
  }
  if (list->size() > kKeysMax) return fail("{} has more than {} keys", path.string(), kKeysMax);
  for (const json& entry : *list) {
    const auto key = read_key(entry);
    if (!key) return fail("{}: {}", path.string(), key.error().message);
    keys.push_back(*key);
  }
  return keys;
}

Status change_keys(const fs::path& path,
                   const std::function<Status(std::vector<StoredKey>&)>& change) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const fs::path lock = path.string() + ".lock";
  const FileDescriptor file = open_lock(lock);
  if (!file.open()) return cannot_write(lock);
  while (flock(file.number(), LOCK_EX) != 0) {
    if (errno != EINTR) return cannot_write(lock);
  }
  HADAL_TRY(auto keys, read_keys(path));
  HADAL_TRY_VOID(change(keys));
  if (keys.size() > kKeysMax) return fail("there are {} keys, the most there may be", kKeysMax);
  return write_whole(path, written(keys));
}

}  // namespace hadal
