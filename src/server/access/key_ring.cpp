#include "server/access/key_ring.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hadal {

Result<std::shared_ptr<KeyRing>> KeyRing::open(std::filesystem::path path, Tell tell) {
  std::shared_ptr<KeyRing> ring(new KeyRing(std::move(path), std::move(tell)));
  std::lock_guard lock(ring->mutex_);
  HADAL_TRY_VOID(ring->refresh());
  return ring;
}

Status KeyRing::refresh() {
  if (path_.empty()) return {};
  struct stat status {};
  Stamp now;
  if (::stat(path_.c_str(), &status) == 0) {
    now = {.seconds = status.st_mtim.tv_sec,
           .nanoseconds = status.st_mtim.tv_nsec,
           .inode = status.st_ino,
           .bytes = static_cast<uint64_t>(status.st_size)};
  } else if (errno == ENOTDIR) {
    return fail("{} is no folder, so no keys can be in it", path_.parent_path().string());
  } else if (errno != ENOENT) {
    return fail("{} cannot be looked at: {}", path_.string(), std::strerror(errno));
  }
  if (now == stamp_) return {};
  HADAL_TRY(const auto keys, read_keys(path_));
  stamp_ = now;
  std::vector<Entry> entries;
  for (const StoredKey& key : keys) {
    const auto known = std::ranges::find_if(
        entries_, [&](const Entry& entry) { return entry.key.digest == key.digest; });
    // What a key has used up stays used up when the file changes.
    auto limiter = known != entries_.end() ? known->holder.limiter : std::make_shared<KeyLimiter>();
    limiter->set(key.limits, KeyLimiter::Clock::now());
    entries.push_back({key, {key.name, cache_salt_of(key.digest), std::move(limiter)}});
  }
  entries_ = std::move(entries);
  needed_ = needed_ || !entries_.empty();
  return {};
}

bool KeyRing::needed() {
  std::lock_guard lock(mutex_);
  const Status read = refresh();
  if (!read) needed_ = true;  // and what was known stays
  tell_news(read);
  return needed_;
}

void KeyRing::tell_news(const Status& read) {
  if (troubled_ != read.has_value()) return;
  troubled_ = !read;
  if (!tell_) return;
  if (read)
    return tell_(fmt::format("{} is in order again: {} keys", path_.string(), entries_.size()));
  tell_(fmt::format("{}; {}", read.error().message,
                    entries_.empty() ? "nobody is let in until that is mended"
                                     : "the keys known before stay as they were"));
}

KeyHolder KeyRing::find(std::string_view key) {
  const KeyDigest digest = digest_of_key(key);
  std::lock_guard lock(mutex_);
  const KeyHolder* found = nullptr;
  for (const Entry& entry : entries_) {
    if (same_digest(entry.key.digest, digest)) found = &entry.holder;
  }
  return found == nullptr ? KeyHolder{} : *found;
}

void KeyRing::charge(uint64_t cache_salt, uint64_t tokens) {
  std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    if (entry.holder.cache_salt != cache_salt) continue;
    entry.holder.limiter->charge(tokens, KeyLimiter::Clock::now());
  }
}

}  // namespace hadal
