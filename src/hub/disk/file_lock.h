// A lock between processes on one file (flock, as huggingface_hub's): whoever dies lets go of it.
#pragma once

#include <filesystem>
#include <functional>

#include "base/result.h"

namespace hadal {

class FileLock {
 public:
  // Waits for the lock. While another process holds it, `waiting` is called a few times a second;
  // false from it gives up ("stopped"). Makes the folder.
  static Result<FileLock> take(const std::filesystem::path& path,
                               const std::function<bool()>& waiting);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;

 private:
  explicit FileLock(int file) : file_(file) {}
  int file_;
};

}  // namespace hadal
