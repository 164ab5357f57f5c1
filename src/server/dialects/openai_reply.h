// What a ChatRun tells -> OpenAI's answers: one JSON object, or a stream of chunks.
#pragma once

#include <memory>

#include "server/chat/chat_run.h"
#include "server/dialects/openai_request.h"
#include "server/http/exchange.h"

namespace hadal {

std::shared_ptr<ChatReader> make_openai_reply(const OpenAiRequest& request,
                                              std::shared_ptr<Exchange> exchange);

}  // namespace hadal
