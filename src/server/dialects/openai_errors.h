// Errors as OpenAI's clients read them: {"error": {"message", "type", "param", "code"}}
// (https://platform.openai.com/docs/guides/error-codes), with llama-server's types.
#pragma once

#include <string>
#include <string_view>

#include "server/http/message.h"
#include "server/request_error.h"

namespace hadal {

std::string openai_error_body(const RequestError& error);
// For what goes wrong before a dialect is asked (http/router.h, ErrorBody).
std::string openai_http_error(unsigned status, std::string_view message);
WebReply openai_error_reply(const RequestError& error);

}  // namespace hadal
