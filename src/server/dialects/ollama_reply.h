// What a ChatRun tells -> Ollama's answers: one JSON object, or a stream of them, one a line.
#pragma once

#include <memory>
#include <string>

#include "server/chat/chat_run.h"
#include "server/dialects/ollama_request.h"
#include "server/http/exchange.h"

namespace hadal {

// name: the model as the client called it.
std::shared_ptr<ChatReader> make_ollama_reply(const OllamaRequest& request, std::string name,
                                              std::shared_ptr<Exchange> exchange);
// To a request that says nothing. reason: "load", "unload".
std::string ollama_load_body(const OllamaRequest& request, const std::string& name,
                             const char* reason);

std::string ollama_error_body(const RequestError& error);
// For what goes wrong before a dialect is asked (http/router.h, ErrorBody).
std::string ollama_http_error(unsigned status, std::string_view message);
WebReply ollama_error_reply(const RequestError& error);

// "2026-11-22T15:04:05.123456789Z"
std::string ollama_time(std::chrono::system_clock::time_point time);

inline constexpr const char* kNdjson = "application/x-ndjson";

}  // namespace hadal
