// Anthropic's Messages requests -> ChatJob (https://docs.anthropic.com/en/api/messages). The tables
// in anthropic_request.cpp and anthropic_messages.cpp are the list of what is honoured; everything
// else is refused by its name.
#pragma once

#include <string_view>

#include "server/chat/chat_job.h"
#include "server/chat/fields.h"
#include "server/request_error.h"

namespace hadal {

struct AnthropicRequest {
  ChatJob job;
  bool stream = false;
  bool shows_thinking = true;  // false: its blocks come empty
};

RequestResult<AnthropicRequest> read_anthropic_request(std::string_view body);
// Of /v1/messages/count_tokens: the same, without the need of max_tokens.
RequestResult<AnthropicRequest> read_anthropic_count(std::string_view body);
// All tables, those of what lies in the requests, too.
std::vector<FieldForm> anthropic_forms();

}  // namespace hadal
