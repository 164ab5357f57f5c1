// Makes allocations fail. While a FailingNew lives, calls of operator new are counted, and those
// from number `first` (from 0) on, `count` of them, throw bad_alloc. One at a time in a program.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hadal {

class FailingNew {
 public:
  enum class Threads : uint8_t { kThis, kOthers };  // whose calls
  explicit FailingNew(uint64_t first, Threads threads = Threads::kThis, uint64_t count = 1);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  // The same for a library that takes its memory from functions it is given; null: none.
  static void* malloc(size_t bytes);
  static void* realloc(void* old, size_t bytes);

  uint64_t allocations() const;
  bool failed() const;  // call `first` was made
};

}  // namespace hadal
