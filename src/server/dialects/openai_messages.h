// OpenAI's messages -> messages as chat templates know them: content is one string, roles are
// system, user, assistant, tool. Parts that are no text (pictures, sound) are refused by name.
#pragma once

#include <vector>

#include "server/chat/fields.h"

namespace hadal {

// messages: a list.
RequestResult<nlohmann::ordered_json> read_openai_messages(const nlohmann::ordered_json& messages);
void append_openai_message_forms(std::vector<FieldForm>& forms);

}  // namespace hadal
