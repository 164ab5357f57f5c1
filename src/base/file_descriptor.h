// Owns one open file of the system; closes it. Not for files whose close() may report lost writes:
// those are flushed first.
#pragma once

#include <unistd.h>

#include <utility>

namespace hadal {

class FileDescriptor {
 public:
  explicit FileDescriptor(int number = -1) : number_(number) {}  // as open() gave it; -1: none
  ~FileDescriptor() {
    if (number_ >= 0) close(number_);
  }
  FileDescriptor(FileDescriptor&& other) noexcept : number_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;

  bool open() const { return number_ >= 0; }
  int number() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

}  // namespace hadal
