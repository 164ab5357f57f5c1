// Text that comes from files: is it UTF-8, and how to show it in a message without harm.
#pragma once

#include <string>
#include <string_view>

namespace hadal {

// Well-formed UTF-8 as Unicode defines it (table 3-7): no overlong forms, no surrogates, nothing
// above U+10FFFF.
bool is_utf8(std::string_view text);

// Fit for a name that people read in a terminal: UTF-8, not empty, no control characters (a NUL
// among them).
bool is_plain_name(std::string_view text);

// For messages: in single quotes, control characters and bytes that are no UTF-8 as \x.., cut to
// about bytes_max bytes with "..."
std::string quote(std::string_view text, size_t bytes_max = 80);

}  // namespace hadal
