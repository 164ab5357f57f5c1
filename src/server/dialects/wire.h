// What the dialects share: JSON as text, ids, and how an answer is begun.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "server/chat/chat_run.h"
#include "server/http/exchange.h"

namespace hadal {

// On one line; bytes that are no UTF-8 become U+FFFD.
std::string wire_text(const nlohmann::ordered_json& value);
WebReply json_reply(const nlohmann::ordered_json& body);
// Hard to guess, so that nobody takes another's for his own.
std::string random_id(std::string_view prefix);

// Begins the answer of `reader`, which ends when the client leaves. pool outlives it.
void start_chat(ModelPool& pool, const WebRequest& request, ChatJob job,
                std::shared_ptr<ChatReader> reader, Exchange& exchange);

}  // namespace hadal
