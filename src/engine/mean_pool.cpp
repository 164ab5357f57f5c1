#include "engine/mean_pool.h"

#include <algorithm>

#include "base/check.h"

namespace hadal {

void MeanPool::add(uint32_t position, std::span<const float> states) {
  if (position == 0) {
    std::ranges::fill(sums_, 0.0);
    positions_ = 0;
  }
  CHECK(position == positions_ && states.size() % sums_.size() == 0);
  for (size_t i = 0; i < states.size(); i += sums_.size()) {
    for (size_t column = 0; column < sums_.size(); ++column) {
      sums_[column] += double{states[i + column]};
    }
    ++positions_;
  }
}

std::span<const float> MeanPool::mean() {
  CHECK(positions_ > 0);
  for (size_t column = 0; column < sums_.size(); ++column) {
    mean_[column] = static_cast<float>(sums_[column] / positions_);
  }
  return mean_;
}

}  // namespace hadal
