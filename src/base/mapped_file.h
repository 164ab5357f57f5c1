// A file mapped read-only into memory. The bytes stay where the kernel keeps them: a model is never
// copied whole.
//
// A mapped file can shrink, or its disk can fail, while it is read; the kernel then raises SIGBUS.
// MappedFile installs one handler (on first use) that puts zeros in place of what is lost and
// remembers the loss: the reader goes on, and whoever owns the result asks damaged() before it
// trusts it (Device::wait does). The signal alone is not enough: while a file is cut, and in the
// rest of a large page, the kernel may show zeros without one; so damaged() looks at the file's
// size as well. Thread-safe.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "base/result.h"

namespace hadal {

class MappedFile {
 public:
  // Errors name the path: missing, a directory, not readable, empty, no address space.
  static Result<std::unique_ptr<MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  bool damaged() const;  // some part could not be read, or is gone, since the mapping was made

  // True once any mapped file of this process has been damaged. Costs one system call a mapped
  // file: call it once a step, not once a row.
  static bool any_damaged();
  static std::string damage_report();  // names the files; empty when none

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size, int file, int slot);
  std::filesystem::path path_;
  const std::byte* data_;
  size_t size_;
  int file_;  // open, to ask for its size
  int slot_;
};

}  // namespace hadal
