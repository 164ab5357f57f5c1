// What a client is told when its request cannot be done; each dialect has its own words for the
// kinds.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "base/result.h"

namespace hadal {

enum class ErrorKind : uint8_t {
  kInvalid,      // 400: a field, its value
  kUnsupported,  // 400: a field or value that is known and cannot be honoured
  kTooLong,      // 400: the prompt does not fit: prompt_tokens, context_tokens
  kNotFound,     // 404: no such model
  kOverloaded,   // 429: as many wait as may
  kUnavailable,  // 503: loading failed, ending, out of memory
  kFailed,       // 500: the device or the file failed
};

struct RequestError {
  ErrorKind kind = ErrorKind::kInvalid;
  std::string message;
  std::string field;  // the one that is wrong; "": none
  uint32_t prompt_tokens = 0, context_tokens = 0;
  uint32_t retry_after_seconds = 0;  // 0: not said
};

template <typename T>
using RequestResult = tl::expected<T, RequestError>;

unsigned http_status(ErrorKind kind);

// What the last to wait are told where the server ends before their answers do.
RequestError cut_off_error();

template <typename... Args>
tl::unexpected<RequestError> refuse(ErrorKind kind, fmt::format_string<Args...> format,
                                    Args&&... args) {
  return tl::unexpected(RequestError{
      .kind = kind, .message = fmt::format(format, std::forward<Args>(args)...), .field = {}});
}

}  // namespace hadal
