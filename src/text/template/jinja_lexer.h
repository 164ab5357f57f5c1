// Cuts a template's source into tokens, with jinja2's rules for white space under trim_blocks and
// lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hadal::jinja {

enum class TokenKind : uint8_t {
  text,          // outside of all tags; white space already stripped
  output_begin,  // {{
  output_end,
  block_begin,  // {%
  block_end,
  name,
  string,  // unescaped
  integer,
  floating,
  symbol,  // an operator or a bracket, as written
  end,
};

struct Token {
  TokenKind kind = TokenKind::end;
  uint32_t line = 1;
  std::string text;
  int64_t integer = 0;
  double floating = 0;
};

// source: valid UTF-8. The last token is always `end`. An error names the line.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace hadal::jinja
