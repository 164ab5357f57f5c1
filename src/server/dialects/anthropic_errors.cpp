#include "server/dialects/anthropic_errors.h"

#include "base/json.h"
#include "server/dialects/wire.h"

namespace hadal {

std::string anthropic_http_error(unsigned status, std::string_view message) {
  const char* type = "invalid_request_error";
  if (status == 401) type = "authentication_error";
  if (status == 403) type = "permission_error";
  if (status == 404) type = "not_found_error";
  if (status == 413) type = "request_too_large";
  if (status == 429) type = "rate_limit_error";
  if (status == 503) type = "overloaded_error";
  if (status == 500) type = "api_error";
  return wire_text({{"type", "error"}, {"error", {{"type", type}, {"message", message}}}});
}

std::string anthropic_error_body(const RequestError& error) {
  return anthropic_http_error(http_status(error.kind), error.message);
}

WebReply anthropic_error_reply(const RequestError& error) {
  WebReply reply{.status = http_status(error.kind), .body = anthropic_error_body(error)};
  if (error.retry_after_seconds > 0) {
    reply.headers.emplace_back("Retry-After", std::to_string(error.retry_after_seconds));
  }
  return reply;
}

}  // namespace hadal
