// Ollama's chat and generate requests -> ChatJob (https://github.com/ollama/ollama/blob/main/docs/
// api.md). The tables in ollama_request.cpp and ollama_messages.cpp are the list of what is
// honoured; everything else is refused by its name.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "server/chat/chat_job.h"
#include "server/chat/fields.h"
#include "server/request_error.h"

namespace hadal {

// How long a model stays loaded that nobody uses; none: for good.
using KeepAlive = std::optional<std::chrono::seconds>;

struct OllamaRequest {
  ChatJob job;
  std::optional<KeepAlive> keep_alive;  // none: as it was
  bool chat = true;                     // false: generate
  bool stream = true;
  bool loads_only = false;  // it says nothing: the model is to be loaded, or unloaded
};

RequestResult<OllamaRequest> read_ollama_chat(std::string_view body);
RequestResult<OllamaRequest> read_ollama_generate(std::string_view body);
// All tables, those of what lies in the requests, too.
std::vector<FieldForm> ollama_forms();

// The object `options`: how to sample, and for how long.
RequestResult<void> read_ollama_options(const Json& value, ChatJob& job);
// A number of seconds, or Go's durations ("5m", "1h30m", "-1"); below zero: for good.
RequestResult<KeepAlive> read_keep_alive(const Json& value);

}  // namespace hadal
