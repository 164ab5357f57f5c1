// What a ChatRun tells -> Anthropic's answers: one message, or a stream of its events
// (https://docs.anthropic.com/en/api/messages-streaming).
#pragma once

#include <memory>

#include "server/chat/chat_run.h"
#include "server/dialects/anthropic_request.h"
#include "server/http/exchange.h"

namespace hadal {

std::shared_ptr<ChatReader> make_anthropic_reply(const AnthropicRequest& request,
                                                 std::shared_ptr<Exchange> exchange);

}  // namespace hadal
