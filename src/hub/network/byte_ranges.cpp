#include "hub/network/byte_ranges.h"

#include <algorithm>

namespace hadal {

void ByteRanges::add(ByteRange range) {
  if (range.begin >= range.end) return;
  // [first, last): those that overlap or touch the new one.
  auto first = std::lower_bound(ranges_.begin(), ranges_.end(), range.begin,
                                [](const ByteRange& r, uint64_t begin) { return r.end < begin; });
  auto last = first;
  while (last != ranges_.end() && last->begin <= range.end) {
    range.begin = std::min(range.begin, last->begin);
    range.end = std::max(range.end, last->end);
    bytes_ -= last->size();
    ++last;
  }
  bytes_ += range.size();
  if (first == last) {
    ranges_.insert(first, range);
  } else {
    *first = range;
    ranges_.erase(first + 1, last);
  }
}

uint64_t ByteRanges::prefix() const {
  return ranges_.empty() || ranges_.front().begin != 0 ? 0 : ranges_.front().end;
}

ByteRange ByteRanges::first_gap(ByteRange within) const {
  uint64_t begin = within.begin;
  for (const ByteRange& r : ranges_) {
    if (r.end <= begin) continue;
    if (r.begin > begin) return {begin, std::max(begin, std::min(r.begin, within.end))};
    begin = r.end;
  }
  if (begin >= within.end) return {within.end, within.end};
  return {begin, within.end};
}

}  // namespace hadal
