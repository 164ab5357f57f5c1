#include "server/http/message.h"

#include <algorithm>

namespace hadal {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string_view WebRequest::header(std::string_view name) const {
  for (const auto& [known, value] : headers) {
    if (known == name) return value;
  }
  return {};
}

size_t WebRequest::count(std::string_view name) const {
  return static_cast<size_t>(std::ranges::count(
      headers, name, [](const auto& header) -> std::string_view { return header.first; }));
}

bool body_is_coded(const WebRequest& request) {
  for (const auto& [name, value] : request.headers) {
    if (name != "content-encoding") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      std::string_view coding = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(coding.size() + 1, rest.size()));
      while (coding.starts_with(' ') || coding.starts_with('\t')) coding.remove_prefix(1);
      while (coding.ends_with(' ') || coding.ends_with('\t')) coding.remove_suffix(1);
      if (!coding.empty() && lower_ascii(coding) != "identity") return true;
    }
  }
  return false;
}

std::string lower_ascii(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool percent_decoded(std::string_view text, std::string& decoded) {
  decoded.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return false;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(16 * high + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    decoded += c;
  }
  return true;
}

}  // namespace hadal
