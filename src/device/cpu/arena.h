// Scratch, cut into arrays that begin on a cache line. Cut twice by the same code: before start()
// to learn the size, after it to have the places.
#pragma once

#include <cstddef>

#include "base/sizes.h"

namespace hadal::cpu {

class Arena {
 public:
  static constexpr size_t kLine = 64;

  void start(std::byte* base) {
    base_ = base;
    used_ = 0;
  }
  template <typename T>
  T* take(size_t count) {
    const size_t at = used_;
    used_ = round_up(used_ + count * sizeof(T), kLine);
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }
  size_t used() const { return used_; }

 private:
  std::byte* base_ = nullptr;
  size_t used_ = 0;
};

}  // namespace hadal::cpu
