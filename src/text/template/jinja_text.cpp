#include "text/template/jinja_text.h"

#include <algorithm>

namespace hadal::jinja {
namespace {

Trust opposite(Trust trust) {
  return trust == Trust::trusted ? Trust::untrusted : Trust::trusted;
}

// The trust after `flips` changes.
Trust after(Trust first, size_t flips) {
  return flips % 2 == 0 ? first : opposite(first);
}

}  // namespace

Trust Text::trust_at(size_t byte) const {
  const auto next = std::upper_bound(flips_.begin(), flips_.end(), byte);
  return after(first_, static_cast<size_t>(next - flips_.begin()));
}

void Text::append(std::string_view bytes, Trust trust) {
  if (bytes.empty()) return;
  if (empty()) {
    first_ = trust;
  } else if (after(first_, flips_.size()) != trust) {
    flips_.push_back(static_cast<uint32_t>(size()));
  }
  bytes_.append(bytes);
}

void Text::append_slice(const Text& other, size_t begin, size_t end) {
  if (begin >= end) return;
  auto flip = std::upper_bound(other.flips_.begin(), other.flips_.end(), begin);
  Trust trust = after(other.first_, static_cast<size_t>(flip - other.flips_.begin()));
  size_t at = begin;
  while (at < end) {
    const bool last = flip == other.flips_.end() || *flip >= end;
    const size_t stop = last ? end : *flip++;
    append(other.view().substr(at, stop - at), trust);
    trust = opposite(trust);
    at = stop;
  }
}

Text Text::slice(size_t begin, size_t end) const {
  Text result;
  result.append_slice(*this, begin, end);
  return result;
}

void Text::clear() {
  bytes_.clear();
  flips_.clear();
}

std::vector<TextPiece> Text::pieces() const {
  std::vector<TextPiece> pieces;
  size_t at = 0;
  for (size_t run = 0; run <= flips_.size() && at < size(); run++) {
    const size_t stop = run < flips_.size() ? flips_[run] : size();
    pieces.push_back({bytes_.substr(at, stop - at), after(first_, run) == Trust::trusted});
    at = stop;
  }
  return pieces;
}

// --- UTF-8 ---

namespace {

struct Decoded {
  uint32_t value;
  uint32_t bytes;  // 0: not well formed
};

Decoded decode_checked(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  uint32_t length = 0;
  if (lead >= 0xC2 && lead < 0xE0) length = 2;
  if (lead >= 0xE0 && lead < 0xF0) length = 3;
  if (lead >= 0xF0 && lead < 0xF5) length = 4;
  if (length == 0 || text.size() - at < length) return {0, 0};
  uint32_t value = lead & (0x7Fu >> length);
  for (uint32_t i = 1; i < length; i++) {
    if ((byte(i) & 0xC0) != 0x80) return {0, 0};
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  const uint32_t least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (value < least || value > 0x10FFFF || surrogate) return {0, 0};
  return {value, length};
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

std::string valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  size_t at = 0;
  while (at < text.size()) {
    const Decoded decoded = decode_checked(text, at);
    if (decoded.bytes == 0) {
      result.append(kReplacement);
      at++;
    } else {
      result.append(text.substr(at, decoded.bytes));
      at += decoded.bytes;
    }
  }
  return result;
}

void append_utf8(std::string& text, uint32_t code_point) {
  if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) {
    text.append(kReplacement);
  } else if (code_point < 0x80) {
    text.push_back(static_cast<char>(code_point));
  } else if (code_point < 0x800) {
    text.push_back(static_cast<char>(0xC0 | code_point >> 6));
    text.push_back(static_cast<char>(0x80 | (code_point & 0x3F)));
  } else if (code_point < 0x10000) {
    text.push_back(static_cast<char>(0xE0 | code_point >> 12));
    text.push_back(static_cast<char>(0x80 | (code_point >> 6 & 0x3F)));
    text.push_back(static_cast<char>(0x80 | (code_point & 0x3F)));
  } else {
    text.push_back(static_cast<char>(0xF0 | code_point >> 18));
    text.push_back(static_cast<char>(0x80 | (code_point >> 12 & 0x3F)));
    text.push_back(static_cast<char>(0x80 | (code_point >> 6 & 0x3F)));
    text.push_back(static_cast<char>(0x80 | (code_point & 0x3F)));
  }
}

CodePoint code_point_at(std::string_view valid_text, size_t byte) {
  const Decoded decoded = decode_checked(valid_text, byte);
  if (decoded.bytes == 0) return {0xFFFD, 1};
  return {decoded.value, decoded.bytes};
}

size_t code_point_before(std::string_view valid_text, size_t byte) {
  do {
    byte--;
  } while (byte > 0 && (static_cast<unsigned char>(valid_text[byte]) & 0xC0) == 0x80);
  return byte;
}

size_t count_code_points(std::string_view valid_text) {
  return static_cast<size_t>(std::count_if(valid_text.begin(), valid_text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

size_t code_point_offset(std::string_view valid_text, size_t index) {
  size_t at = 0;
  while (at < valid_text.size()) {
    if ((static_cast<unsigned char>(valid_text[at]) & 0xC0) != 0x80) {
      if (index == 0) return at;
      index--;
    }
    at++;
  }
  return at;
}

// --- str methods ---

Text strip(const Text& text, Sides sides, const std::string* characters) {
  const std::string_view bytes = text.view();
  const auto removes = [&](size_t at, size_t length) {
    if (characters == nullptr) return is_space(code_point_at(bytes, at).value);
    return characters->find(bytes.substr(at, length)) != std::string::npos;
  };
  size_t begin = 0;
  size_t end = bytes.size();
  while (sides != Sides::right && begin < end) {
    const size_t length = code_point_at(bytes, begin).bytes;
    if (!removes(begin, length)) break;
    begin += length;
  }
  while (sides != Sides::left && begin < end) {
    const size_t start = code_point_before(bytes, end);
    if (!removes(start, end - start)) break;
    end = start;
  }
  return text.slice(begin, end);
}

std::vector<Text> split(const Text& text, std::string_view separator, int64_t splits_max) {
  std::vector<Text> parts;
  size_t begin = 0;
  while (splits_max < 0 || static_cast<int64_t>(parts.size()) < splits_max) {
    const size_t found = text.view().find(separator, begin);
    if (found == std::string_view::npos) break;
    parts.push_back(text.slice(begin, found));
    begin = found + separator.size();
  }
  parts.push_back(text.slice(begin, text.size()));
  return parts;
}

std::vector<Text> split_from_right(const Text& text, std::string_view separator,
                                   int64_t splits_max) {
  std::vector<Text> parts;
  size_t end = text.size();
  while (splits_max < 0 || static_cast<int64_t>(parts.size()) < splits_max) {
    if (end < separator.size()) break;
    const size_t found = text.view().rfind(separator, end - separator.size());
    if (found == std::string_view::npos) break;
    parts.push_back(text.slice(found + separator.size(), end));
    end = found;
  }
  parts.push_back(text.slice(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> split_white_space(const Text& text, int64_t splits_max) {
  const std::string_view bytes = text.view();
  std::vector<Text> parts;
  size_t at = 0;
  const auto skip = [&](bool spaces) {
    while (at < bytes.size() && is_space(code_point_at(bytes, at).value) == spaces) {
      at += code_point_at(bytes, at).bytes;
    }
  };
  for (skip(true); at < bytes.size(); skip(true)) {
    const size_t begin = at;
    if (splits_max >= 0 && static_cast<int64_t>(parts.size()) >= splits_max) {
      parts.push_back(text.slice(begin, bytes.size()));
      break;
    }
    skip(false);
    parts.push_back(text.slice(begin, at));
  }
  return parts;
}

std::vector<Text> split_white_space_from_right(const Text& text, int64_t splits_max) {
  const std::string_view bytes = text.view();
  std::vector<Text> parts;
  size_t at = bytes.size();
  const auto skip = [&](bool spaces) {
    while (at > 0) {
      const size_t before = code_point_before(bytes, at);
      if (is_space(code_point_at(bytes, before).value) != spaces) break;
      at = before;
    }
  };
  for (skip(true); at > 0; skip(true)) {
    const size_t end = at;
    if (splits_max >= 0 && static_cast<int64_t>(parts.size()) >= splits_max) {
      parts.push_back(text.slice(0, end));
      break;
    }
    skip(false);
    parts.push_back(text.slice(at, end));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> split_lines(const Text& text, bool keep_breaks) {
  const std::string_view bytes = text.view();
  std::vector<Text> lines;
  size_t begin = 0;
  size_t at = 0;
  while (at < bytes.size()) {
    const CodePoint code_point = code_point_at(bytes, at);
    const size_t end = at;
    at += code_point.bytes;
    if (!is_line_break(code_point.value)) continue;
    if (code_point.value == '\r' && at < bytes.size() && bytes[at] == '\n') at++;
    lines.push_back(text.slice(begin, keep_breaks ? at : end));
    begin = at;
  }
  if (begin < bytes.size()) lines.push_back(text.slice(begin, bytes.size()));
  return lines;
}

size_t count_occurrences(std::string_view text, std::string_view needle, int64_t limit) {
  const size_t most = limit < 0 ? SIZE_MAX : static_cast<size_t>(limit);
  if (needle.empty()) return std::min(most, count_code_points(text) + 1);
  size_t count = 0;
  size_t at = 0;
  while (count < most && (at = text.find(needle, at)) != std::string_view::npos) {
    count++;
    at += needle.size();
  }
  return count;
}

Text replace(const Text& text, std::string_view old_text, const Text& new_text,
             int64_t replacements_max) {
  const std::string_view bytes = text.view();
  Text result;
  size_t left = replacements_max < 0 ? SIZE_MAX : static_cast<size_t>(replacements_max);
  size_t at = 0;
  if (old_text.empty()) {  // before every code point, and at the end
    for (; left > 0; left--) {
      result.append(new_text);
      if (at == bytes.size()) return result;
      const size_t next = at + code_point_at(bytes, at).bytes;
      result.append_slice(text, at, next);
      at = next;
    }
  }
  for (; left > 0; left--) {
    const size_t found = bytes.find(old_text, at);
    if (found == std::string_view::npos) break;
    result.append_slice(text, at, found);
    result.append(new_text);
    at = found + old_text.size();
  }
  result.append_slice(text, at, bytes.size());
  return result;
}

std::string python_literal(std::string_view text) {
  const bool doubles = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = doubles ? '"' : '\'';
  constexpr char hexadecimal[] = "0123456789abcdef";
  std::string result(1, quote);
  const auto escape = [&](char letter, uint32_t value, int digits) {
    result.push_back('\\');
    result.push_back(letter);
    for (int digit = digits - 1; digit >= 0; digit--) {
      result.push_back(hexadecimal[value >> (4 * digit) & 15]);
    }
  };
  for (size_t at = 0; at < text.size();) {
    const CodePoint code_point = code_point_at(text, at);
    const uint32_t value = code_point.value;
    if (value == static_cast<unsigned char>(quote) || value == '\\') {
      result.push_back('\\');
      result.push_back(static_cast<char>(value));
    } else if (value == '\n' || value == '\r' || value == '\t') {
      result.push_back('\\');
      result.push_back(value == '\n' ? 'n' : value == '\r' ? 'r' : 't');
    } else if (is_printable(value)) {
      result.append(text.substr(at, code_point.bytes));
    } else if (value < 0x100) {
      escape('x', value, 2);
    } else if (value < 0x10000) {
      escape('u', value, 4);
    } else {
      escape('U', value, 8);
    }
    at += code_point.bytes;
  }
  result.push_back(quote);
  return result;
}

}  // namespace hadal::jinja
