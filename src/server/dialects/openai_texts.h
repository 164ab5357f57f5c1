// The four forms in which OpenAI's requests name texts: a string, a list of token numbers, a list
// of strings, a list of lists of token numbers.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "server/chat/prompt_text.h"
#include "server/request_error.h"

namespace hadal {

// field: the value's name, for errors. most: texts in a list.
RequestResult<std::vector<PromptText>> read_texts(const nlohmann::ordered_json& value,
                                                  const char* field, uint32_t most);

}  // namespace hadal
