// A lock between processes on one file (flock, as huggingface_hub's): whoever dies lets go of it.
#pragma once

#include <filesystem>
#include <functional>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace hadal {

class FileLock {
 public:
  // Waits for the lock. While another process holds it, `waiting` is called a few times a second;
  // false from it gives up ("stopped"). Makes the folder.
  static Result<FileLock> take(const std::filesystem::path& path,
                               const std::function<bool()>& waiting);

 private:
  explicit FileLock(FileDescriptor file) : file_(std::move(file)) {}
  FileDescriptor file_;  // closed, it lets go of the lock
};

}  // namespace hadal
