// A prompt given back: its text, and what its tokens say of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/chat/prompt_text.h"

namespace hadal {

// Characters that begin in these bytes of UTF-8.
size_t characters_in(std::string_view bytes);

struct PromptEcho {
  std::string text;  // as it was sent; of tokens, what they spell
  TokenId first = 0;
  // Characters that the first tokens spell, but the text does not have: a token that begins every
  // text, the space before SentencePiece's first word.
  size_t unwritten = 0;
};

// tokens: what the model is given for the text; not empty.
PromptEcho echo_of(const Tokenizer& tokenizer, const PromptText& text,
                   const std::vector<TokenId>& tokens);

}  // namespace hadal
