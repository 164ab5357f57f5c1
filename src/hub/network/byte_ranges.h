// Which bytes of a file are there: disjoint ranges in order. A value; not synchronised.
#pragma once

#include <cstdint>
#include <vector>

namespace hadal {

struct ByteRange {
  uint64_t begin = 0, end = 0;  // [begin, end)
  uint64_t size() const { return end - begin; }
  bool operator==(const ByteRange&) const = default;
};

class ByteRanges {
 public:
  void add(ByteRange range);  // joined with what it touches; an empty one changes nothing
  uint64_t bytes() const { return bytes_; }
  uint64_t prefix() const;  // bytes that are there without a gap from 0 on
  // The first gap in `within`; empty (begin == end) if there is none.
  ByteRange first_gap(ByteRange within) const;
  const std::vector<ByteRange>& ranges() const { return ranges_; }

 private:
  std::vector<ByteRange> ranges_;  // sorted, apart from one another, none empty
  uint64_t bytes_ = 0;
};

}  // namespace hadal
