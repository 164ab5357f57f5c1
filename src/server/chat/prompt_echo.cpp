#include "server/chat/prompt_echo.h"

#include <algorithm>

namespace hadal {

size_t characters_in(std::string_view bytes) {
  return static_cast<size_t>(
      std::ranges::count_if(bytes, [](char byte) { return (byte & 0xC0) != 0x80; }));
}

PromptEcho echo_of(const Tokenizer& tokenizer, const PromptText& text,
                   const std::vector<TokenId>& tokens) {
  PromptEcho echo{.text = {}, .first = tokens.front()};
  if (const auto* written = std::get_if<std::string>(&text)) {
    echo.text = *written;
  } else {
    echo.text = tokenizer.decode(tokens, SpecialTokens::kParsed);
  }
  size_t spelled = 0;
  for (const TokenId token : tokens) spelled += characters_in(tokenizer.token_bytes(token));
  echo.unwritten = spelled - std::min(spelled, characters_in(echo.text));
  return echo;
}

}  // namespace hadal
