// A text's embedding: the mean of its tokens' hidden states behind the model's last norm. States
// come in the order of their positions, in pieces of any size: the same sum whatever the pieces.
// Begins anew where position 0 comes again (a sequence that was sent back is computed again).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hadal {

class MeanPool {
 public:
  explicit MeanPool(uint32_t width) : sums_(width), mean_(width) {}

  // states: [count, width], of positions from `position` on.
  void add(uint32_t position, std::span<const float> states);
  std::span<const float> mean();  // [width]; of at least one state
  uint32_t positions() const { return positions_; }

 private:
  std::vector<double> sums_;
  std::vector<float> mean_;
  uint32_t positions_ = 0;
};

}  // namespace hadal
