// A text that a model is to continue, or to place among others: as a client wrote it, or its
// tokens.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "text/tokenizer.h"

namespace hadal {

using PromptText = std::variant<std::string, std::vector<TokenId>>;

}  // namespace hadal
