#include "base/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace hadal {
namespace {

// Bytes of the well-formed character at the front of `text` (not empty), or 0.
size_t character_bytes(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto follows = [&](size_t i) { return (at(i) & 0xc0) == 0x80; };
  const uint8_t first = at(0);
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return text.size() >= 2 && follows(1) ? 2 : 0;
  if (first < 0xf0) {
    if (text.size() < 3 || !follows(1) || !follows(2)) return 0;
    if (first == 0xe0 && at(1) < 0xa0) return 0;   // overlong
    if (first == 0xed && at(1) >= 0xa0) return 0;  // a surrogate
    return 3;
  }
  if (first < 0xf5) {
    if (text.size() < 4 || !follows(1) || !follows(2) || !follows(3)) return 0;
    if (first == 0xf0 && at(1) < 0x90) return 0;   // overlong
    if (first == 0xf4 && at(1) >= 0x90) return 0;  // above U+10FFFF
    return 4;
  }
  return 0;
}

bool is_control(char character) {
  const auto byte = static_cast<uint8_t>(character);
  return byte < 0x20 || byte == 0x7f;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    if (text.size() >= 8) {
      uint64_t eight;
      std::memcpy(&eight, text.data(), 8);
      if ((eight & 0x8080808080808080u) == 0) {
        text.remove_prefix(8);
        continue;
      }
    }
    const size_t bytes = character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

bool is_plain_name(std::string_view text) {
  return !text.empty() && std::none_of(text.begin(), text.end(), is_control) && is_utf8(text);
}

std::string quote(std::string_view text, size_t bytes_max) {
  std::string quoted = "'";
  while (!text.empty()) {
    if (quoted.size() > bytes_max) return quoted + "...'";
    const size_t bytes = character_bytes(text);
    // U+0080 to U+009F are control characters as well; in UTF-8 they begin with 0xc2.
    const bool second_control =
        bytes == 2 && text[0] == '\xc2' && static_cast<uint8_t>(text[1]) < 0xa0;
    if (bytes == 0 || is_control(text[0]) || second_control) {
      quoted += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[0]));
      text.remove_prefix(1);
    } else {
      quoted += text.substr(0, bytes);
      text.remove_prefix(bytes);
    }
  }
  return quoted + "'";
}

}  // namespace hadal
