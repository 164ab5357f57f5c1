// Ollama's messages -> messages as chat templates know them. Pictures are refused by name.
#pragma once

#include <vector>

#include "server/chat/fields.h"

namespace hadal {

// messages: a list.
RequestResult<nlohmann::ordered_json> read_ollama_messages(const nlohmann::ordered_json& messages);
void append_ollama_message_forms(std::vector<FieldForm>& forms);

}  // namespace hadal
