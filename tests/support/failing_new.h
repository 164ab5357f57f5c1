// Makes one allocation of this thread fail. While a FailingNew lives, its thread's calls of
// operator new are counted, and call number `n` (from 0) throws bad_alloc.
#pragma once

#include <cstdint>

namespace hadal {

class FailingNew {
 public:
  explicit FailingNew(uint64_t n);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  uint64_t allocations() const;
  bool failed() const;  // call n was made
};

}  // namespace hadal
