// A file mapped read-only into memory. The bytes stay where the kernel keeps them: a model is never copied whole.
//
// A mapped file can shrink, or its disk can fail, while it is read; the kernel then raises SIGBUS. MappedFile installs one
// handler (on first use) that backs the lost page with zeros and remembers the loss: the reader goes on, and whoever owns
// the result asks damaged() before it trusts it (Device::wait does). Thread-safe.
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
  bool damaged() const;  // some page could not be read since the mapping was made

  // True once any mapped file of this process has lost a page (one atomic load).
  static bool any_damaged();
  static std::string damage_report();  // names the files; empty when none

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size, int slot);
  std::filesystem::path path_;
  const std::byte* data_;
  size_t size_;
  int slot_;
};

}  // namespace hadal
