// What one rendering may use. Templates come out of model files, so they are hostile until proven
// otherwise: every loop turn and every copied byte costs steps, every value costs memory, every
// recursion costs depth, and the first limit that is reached ends the rendering with a sentence.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "text/chat_template.h"

namespace hadal::jinja {

class Budget {
 public:
  explicit Budget(const TemplateLimits& limits) : limits_(limits), steps_left_(limits.steps_max) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  const TemplateLimits& limits() const { return limits_; }

  // One unit of work; text and lists cost by their length beside it.
  Status step() { return spend(1); }
  Status step_for_bytes(size_t bytes) { return spend(1 + bytes / kBytesPerStep); }
  Status step_for_items(size_t items) { return spend(1 + items); }

  // Memory that is about to be taken and kept until release().
  Status charge(size_t bytes) {
    if (bytes > limits_.memory_bytes_max - used_bytes_) return memory_refused(bytes);
    used_bytes_ += bytes;
    return {};
  }
  void release(size_t bytes) { used_bytes_ -= bytes; }
  // Would this much fit? For results whose size is known before they are built.
  Status room_for(size_t bytes) const {
    if (bytes > limits_.memory_bytes_max - used_bytes_) return memory_refused(bytes);
    return {};
  }

 private:
  static constexpr size_t kBytesPerStep = 64;

  Status spend(size_t steps) {
    if (steps > steps_left_) return steps_refused();
    steps_left_ -= steps;
    return {};
  }
  Status steps_refused() const {
    return fail("the template does too much work (limit: {} steps)", limits_.steps_max);
  }
  Status memory_refused(size_t bytes) const {
    return fail("the template wants {} more bytes of memory (limit: {} bytes, {} in use)", bytes,
                limits_.memory_bytes_max, used_bytes_);
  }

  TemplateLimits limits_;
  size_t steps_left_;
  size_t used_bytes_ = 0;
};

}  // namespace hadal::jinja
