// Anthropic's messages -> messages as chat templates know them: blocks of text become one string
// (a line each), thinking reasoning_content, tool_use tool_calls, each tool_result a message of the
// role tool. Neighbours of one role become one message. Blocks that are no text (pictures,
// documents) are refused by name.
#pragma once

#include <vector>

#include "server/chat/fields.h"

namespace hadal {

// messages: a list. system: a string, a list of text blocks, or null.
RequestResult<nlohmann::ordered_json> read_anthropic_messages(
    const nlohmann::ordered_json& messages, const nlohmann::ordered_json& system);
void append_anthropic_message_forms(std::vector<FieldForm>& forms);

}  // namespace hadal
