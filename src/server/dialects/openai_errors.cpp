#include "server/dialects/openai_errors.h"

#include "base/json.h"

namespace hadal {
namespace {

std::string dump(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string_view type_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid:
    case ErrorKind::kUnsupported:
      return "invalid_request_error";
    case ErrorKind::kTooLong:
      return "exceed_context_size_error";
    case ErrorKind::kNotFound:
      return "not_found_error";
    case ErrorKind::kOverloaded:
      return "rate_limit_error";
    case ErrorKind::kUnavailable:
      return "unavailable_error";
    case ErrorKind::kFailed:
      return "server_error";
  }
  return "server_error";
}

const char* code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUnsupported:
      return "unsupported_parameter";
    case ErrorKind::kTooLong:
      return "context_length_exceeded";
    case ErrorKind::kNotFound:
      return "model_not_found";
    case ErrorKind::kOverloaded:
      return "queue_full";
    default:
      return nullptr;
  }
}

}  // namespace

std::string openai_error_body(const RequestError& error) {
  nlohmann::ordered_json body = {{"message", error.message}, {"type", type_of(error.kind)}};
  body["param"] = nullptr;
  if (!error.field.empty()) body["param"] = error.field;
  body["code"] = nullptr;
  if (const char* const code = code_of(error.kind)) body["code"] = code;
  if (error.kind == ErrorKind::kTooLong) {
    body["n_prompt_tokens"] = error.prompt_tokens;
    body["n_ctx"] = error.context_tokens;
  }
  return dump({{"error", body}});
}

std::string openai_http_error(unsigned status, std::string_view message) {
  const char* type = "invalid_request_error";
  if (status == 401) type = "authentication_error";
  if (status == 403) type = "permission_error";
  if (status == 404) type = "not_found_error";
  if (status == 429) type = "rate_limit_error";
  if (status == 503) type = "unavailable_error";
  if (status == 500) type = "server_error";
  return dump(
      {{"error", {{"message", message}, {"type", type}, {"param", nullptr}, {"code", nullptr}}}});
}

WebReply openai_error_reply(const RequestError& error) {
  WebReply reply{.status = http_status(error.kind), .body = openai_error_body(error)};
  if (error.retry_after_seconds > 0) {
    reply.headers.emplace_back("Retry-After", std::to_string(error.retry_after_seconds));
  }
  return reply;
}

}  // namespace hadal
