// The input of a Responses request -> messages as chat templates know them: instructions become the
// system's message; what one role says in a row becomes one message, the assistant's reasoning,
// text and calls too; each function_call_output is a message of the role tool. Parts and items that
// are no text (pictures, files, calls of built-in tools, references to stored items) are refused by
// name.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "server/chat/fields.h"
#include "server/request_error.h"

namespace hadal {

// input: a string or a list of items.
RequestResult<nlohmann::ordered_json> read_responses_input(const nlohmann::ordered_json& input,
                                                           const std::string& instructions);

// The tables, for openapi/.
void append_responses_input_forms(std::vector<FieldForm>& forms);

}  // namespace hadal
