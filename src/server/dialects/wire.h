// What the dialects share: JSON as text, ids, and how an answer is begun.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "server/chat/chat_run.h"
#include "server/chat/embed_run.h"
#include "server/http/exchange.h"

namespace hadal {

// On one line; bytes that are no UTF-8 become U+FFFD.
std::string wire_text(const nlohmann::ordered_json& value);
WebReply json_reply(const nlohmann::ordered_json& body);
// Hard to guess, so that nobody takes another's for his own.
std::string random_id(std::string_view prefix);

// A list of what is JSON already.
std::string json_list(std::span<const std::string> entries);

// Begins the answer of `reader`, which ends when the client leaves. pool outlives it.
void start_chat(ModelPool& pool, const WebRequest& request, ChatJob job,
                std::shared_ptr<ChatReader> reader, Exchange& exchange);
// The same for embeddings.
void start_embed(ModelPool& pool, const WebRequest& request, EmbedJob job, EmbedRun::Done done,
                 Exchange& exchange);

}  // namespace hadal
