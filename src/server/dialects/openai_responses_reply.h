// What a ChatRun tells -> OpenAI's response: one object with its output items, or the events that
// it grows by (https://platform.openai.com/docs/api-reference/responses-streaming).
#pragma once

#include <memory>

#include "server/chat/chat_run.h"
#include "server/dialects/openai_responses_request.h"
#include "server/http/exchange.h"

namespace hadal {

std::shared_ptr<ChatReader> make_responses_reply(const ResponsesRequest& request,
                                                 std::shared_ptr<Exchange> exchange);

}  // namespace hadal
