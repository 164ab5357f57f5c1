// Digests of files: of one at rest, and of one that is being written, in step with the writing.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "base/result.h"
#include "hub/names/hub_names.h"

namespace hadal {

// SHA-256 or git's SHA-1 of bytes in order. One thread at a time.
class DigestStream {
 public:
  // kNone counts as kSha256. `bytes`: how many there will be (git puts it in front of them).
  DigestStream(DigestKind kind, uint64_t bytes);
  ~DigestStream();
  DigestStream(const DigestStream&) = delete;
  DigestStream& operator=(const DigestStream&) = delete;
  void update(std::span<const std::byte> bytes);
  Digest finish();  // once

 private:
  struct State;
  DigestKind kind_;
  std::unique_ptr<State> state_;
};

// Of a whole regular file. `stop` is asked between blocks.
Result<Digest> digest_of_file(const std::filesystem::path& path, DigestKind kind,
                              const std::function<bool()>& stop = {});

// Follows a file whose beginning grows: a thread of its own reads what is there (still in the page
// cache) and digests it, so that the digest is there when the last byte is.
class PrefixDigest {
 public:
  PrefixDigest(int file, uint64_t file_bytes, DigestKind kind);
  ~PrefixDigest();                      // waits for the block at hand
  void advance(uint64_t prefix_bytes);  // bytes [0, prefix_bytes) are written and will not change
  uint64_t digested() const;
  // The digest of the whole file, once advance(file_bytes) was called; nullopt: not ready yet.
  std::optional<Result<Digest>> poll();

 private:
  void work();

  int file_;
  uint64_t file_bytes_;
  DigestStream stream_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t prefix_ = 0, digested_ = 0;
  bool quit_ = false;
  std::optional<Result<Digest>> result_;
  std::thread thread_;
};

}  // namespace hadal
