// JSON from files nobody vouches for, as a stream of events: no tree is built, so memory is what
// the receiver keeps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hadal {

// What a receiver is told, in the order of the text. An error ends the reading and is passed on.
// Strings are views that end with the call.
class JsonEvents {
 public:
  virtual ~JsonEvents() = default;
  virtual Status null() = 0;
  virtual Status boolean(bool value) = 0;
  virtual Status integer(int64_t value) = 0;  // negative ones
  virtual Status unsigned_integer(uint64_t value) = 0;
  virtual Status number(
      double value) = 0;  // with a fraction or exponent, or too large for the two above
  virtual Status string(std::string_view value) = 0;
  virtual Status key(std::string_view key) = 0;
  virtual Status begin_object() = 0;
  virtual Status end_object() = 0;
  virtual Status begin_list() = 0;
  virtual Status end_list() = 0;
};

struct JsonLimits {
  uint32_t depth_max = 32;
  uint64_t keys_max = 1 << 20;  // in the whole text
};

// One JSON value and nothing behind it but space; strict JSON in UTF-8 (a byte order mark is
// skipped). A key that comes twice in one object is refused. `file` names the text in messages.
Status read_json(std::string_view text, const std::string& file, JsonEvents& events,
                 const JsonLimits& limits);

}  // namespace hadal
