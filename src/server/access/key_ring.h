// The keys of a running server: what keys.json says now. The file is looked at again at every
// request that needs a key, and read where it changed, so that a key works as soon as it was added
// and no longer than until it was removed.
//
// Deny by default: once there were keys, or a file that cannot be read, a server asks for one until
// it ends, even where the file went (keys that were known go on to work while it cannot be read).
// Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/access/key_file.h"
#include "server/access/key_limiter.h"

namespace hadal {

struct KeyHolder {
  std::string name;
  uint64_t cache_salt = 0;
  std::shared_ptr<KeyLimiter> limiter;
};

class KeyRing {
 public:
  // Told, in words, when the file can no longer be used, and when it can again: once each, by
  // needed().
  using Tell = std::function<void(const std::string&)>;

  // path: "" where there are no keys, now or ever. Errors: as read_keys, and a folder of it that is
  // none.
  static Result<std::shared_ptr<KeyRing>> open(std::filesystem::path path, Tell tell = {});

  bool needed();  // there are keys, or were, or may be
  // Whose key it is; no limiter: nobody's. Compares with every key there is.
  KeyHolder find(std::string_view key);
  // Of an answer to the key of that salt.
  void charge(uint64_t cache_salt, uint64_t tokens);

 private:
  struct Stamp {  // of the file, as it was last read
    int64_t seconds = 0, nanoseconds = 0;
    uint64_t inode = 0, bytes = 0;
    bool operator==(const Stamp&) const = default;
  };
  struct Entry {
    StoredKey key;
    KeyHolder holder;
  };

  KeyRing(std::filesystem::path path, Tell tell) : path_(std::move(path)), tell_(std::move(tell)) {}
  Status refresh();
  void tell_news(const Status& read);

  const std::filesystem::path path_;
  const Tell tell_;
  std::mutex mutex_;  // guards what follows
  Stamp stamp_;
  bool needed_ = false;
  bool troubled_ = false;  // the last look at the file failed
  std::vector<Entry> entries_;
};

}  // namespace hadal
