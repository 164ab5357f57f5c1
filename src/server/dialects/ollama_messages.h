// Ollama's messages -> messages as chat templates know them. Pictures are refused by name.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "server/request_error.h"

namespace hadal {

// messages: a list.
RequestResult<nlohmann::ordered_json> read_ollama_messages(const nlohmann::ordered_json& messages);

}  // namespace hadal
