#include "server/request_error.h"

#include "server/limits.h"

namespace hadal {

unsigned http_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid:
    case ErrorKind::kUnsupported:
    case ErrorKind::kTooLong:
      return 400;
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kOverloaded:
      return 429;
    case ErrorKind::kUnavailable:
      return 503;
    case ErrorKind::kFailed:
      return 500;
  }
  return 500;
}

RequestError cut_off_error() {
  return {.kind = ErrorKind::kUnavailable,
          .message = "the server is ending, and the answer was cut off",
          .field = {},
          .retry_after_seconds = HttpLimits{}.ending_retry_seconds};
}

}  // namespace hadal
