// Errors as Anthropic's clients read them: {"type": "error", "error": {"type", "message"}}
// (https://docs.anthropic.com/en/api/errors).
#pragma once

#include <string>
#include <string_view>

#include "server/http/message.h"
#include "server/request_error.h"

namespace hadal {

std::string anthropic_error_body(const RequestError& error);
// For what goes wrong before a dialect is asked (http/router.h, ErrorBody).
std::string anthropic_http_error(unsigned status, std::string_view message);
WebReply anthropic_error_reply(const RequestError& error);

}  // namespace hadal
