#include "engine/thinking_mask.h"

#include <algorithm>

namespace hadal {

void ThinkingMask::allowed(std::span<uint32_t> bits) {
  if (!stream_->before_answer()) return form_->allowed(bits);
  std::ranges::fill(bits, UINT32_MAX);
}

// The stream has not been given this token yet: it says where the one before it left the answer.
void ThinkingMask::accept(TokenId token) {
  if (!stream_->before_answer()) form_->accept(token);
}

bool ThinkingMask::may_end() const {
  return !stream_->before_answer() && form_->may_end();
}

}  // namespace hadal
