#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

namespace hadal {
namespace {

// The allowed range of the second byte depends on the first (Unicode 15, table 3-7); later bytes
// are 80..BF.
struct LeadByte {
  uint8_t length = 0;  // 0: no character begins with this byte
  uint8_t second_min = 0x80, second_max = 0xbf;
};

LeadByte lead_byte(uint8_t byte) {
  if (byte < 0x80) return {.length = 1};
  if (byte < 0xc2) return {};
  if (byte < 0xe0) return {.length = 2};
  if (byte == 0xe0) return {.length = 3, .second_min = 0xa0};
  if (byte == 0xed) return {.length = 3, .second_max = 0x9f};
  if (byte < 0xf0) return {.length = 3};
  if (byte == 0xf0) return {.length = 4, .second_min = 0x90};
  if (byte < 0xf4) return {.length = 4};
  if (byte == 0xf4) return {.length = 4, .second_max = 0x8f};
  return {};
}

// How many bytes from text[at] agree with the beginning of one character (0 to lead.length).
uint8_t matching_bytes(std::string_view text, size_t at, LeadByte lead) {
  if (lead.length == 0) return 0;
  uint8_t matched = 1;
  while (matched < lead.length && at + matched < text.size()) {
    const uint8_t byte = static_cast<uint8_t>(text[at + matched]);
    const uint8_t least = matched == 1 ? lead.second_min : 0x80;
    const uint8_t most = matched == 1 ? lead.second_max : 0xbf;
    if (byte < least || byte > most) break;
    ++matched;
  }
  return matched;
}

}  // namespace

DecodedCodePoint decode_code_point(std::string_view text, size_t at) {
  const uint8_t first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return {first, 1};
  const LeadByte lead = lead_byte(first);
  const uint8_t matched = matching_bytes(text, at, lead);
  if (matched == 0) return {kInvalidCodePoint, 1};
  if (matched < lead.length) return {kInvalidCodePoint, matched};
  uint32_t value = first & (0x7fu >> lead.length);
  for (uint8_t i = 1; i < lead.length; ++i) {
    value = value << 6 | (static_cast<uint8_t>(text[at + i]) & 0x3f);
  }
  return {value, lead.length};
}

void append_code_point(std::string& text, uint32_t code_point) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t length =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

size_t valid_utf8_prefix(std::string_view text) {
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(text[at]); };
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight = 0x80;
    if (at + sizeof eight <= text.size()) std::memcpy(&eight, text.data() + at, sizeof eight);
    if ((eight & 0x8080808080808080) == 0) {  // all ASCII, the most frequent case by far
      at += sizeof eight;
    } else if (byte(at) < 0x80) {
      ++at;
    } else if (byte(at) >= 0xc2 && byte(at) <= 0xdf && at + 1 < text.size() &&
               (byte(at + 1) & 0xc0) == 0x80) {
      at += 2;
    } else {
      const DecodedCodePoint decoded = decode_code_point(text, at);
      if (decoded.value == kInvalidCodePoint) break;
      at += decoded.bytes;
    }
  }
  return at;
}

size_t incomplete_utf8_suffix(std::string_view text) {
  const size_t longest = std::min<size_t>(3, text.size());
  for (size_t back = 1; back <= longest; ++back) {
    const size_t at = text.size() - back;
    const LeadByte lead = lead_byte(static_cast<uint8_t>(text[at]));
    if (lead.length > back && matching_bytes(text, at, lead) == back) return back;
  }
  return 0;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  size_t at = 0;
  while (at < text.size()) {
    const size_t good = valid_utf8_prefix(text.substr(at));
    valid.append(text.substr(at, good));
    at += good;
    if (at == text.size()) break;
    append_code_point(valid, kReplacementCharacter);
    at += decode_code_point(text, at).bytes;
  }
  return valid;
}

namespace {

bool is_white_space(uint32_t code_point) {
  return (code_point >= 0x9 && code_point <= 0xd) || code_point == 0x20 || code_point == 0x85 ||
         code_point == 0xa0 || code_point == 0x1680 ||
         (code_point >= 0x2000 && code_point <= 0x200a) || code_point == 0x2028 ||
         code_point == 0x2029 || code_point == 0x202f || code_point == 0x205f ||
         code_point == 0x3000;
}

uint8_t class_of(uint32_t code_point) {
  if (is_white_space(code_point)) return kSpaceClass;
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kLetterClass;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMarkClass;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumberClass;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kPunctuationClass;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
      return kSymbolClass;
    default:
      return 0;
  }
}

}  // namespace

CodePointClasses::CodePointClasses() {
  std::map<std::array<uint8_t, 256>, uint16_t> known;
  for (uint32_t block = 0; block < block_of_.size(); ++block) {
    std::array<uint8_t, 256> classes{};
    // Planes 4 to 13 hold nothing yet; 15 and 16 are private use. None of them has a class.
    const uint32_t plane = block >> 8;
    if (plane < 4 || plane == 14) {
      for (uint32_t i = 0; i < 256; ++i) classes[i] = class_of(block << 8 | i);
    }
    const auto [entry, added] = known.emplace(classes, static_cast<uint16_t>(blocks_.size()));
    if (added) blocks_.push_back(classes);
    block_of_[block] = entry->second;
  }
}

const CodePointClasses& CodePointClasses::table() {
  static const CodePointClasses classes;
  return classes;
}

Result<std::string> normalize(std::string_view text, NormalForm form) {
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char byte) { return static_cast<uint8_t>(byte) < 0x80; });
  if (ascii) return std::string(text);
  int options = UTF8PROC_STABLE;
  const bool composed = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  options |= composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                             static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size < 0) return fail("text cannot be normalized: {}", utf8proc_errmsg(size));
  return std::string(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
}

namespace {

struct Cluster {
  size_t end;    // byte offset behind it
  size_t width;  // columns
};

// The grapheme cluster that begins at text[at] (UAX 29, extended clusters, by utf8proc).
Cluster next_cluster(std::string_view text, size_t at) {
  DecodedCodePoint last = decode_code_point(text, at);
  if (last.value == kInvalidCodePoint) return {at + last.bytes, 1};
  const auto columns = [](uint32_t code_point) {
    return static_cast<size_t>(
        std::max(0, utf8proc_charwidth(static_cast<utf8proc_int32_t>(code_point))));
  };
  size_t width = columns(last.value);
  utf8proc_int32_t state = 0;
  size_t end = at + last.bytes;
  while (end < text.size()) {
    const DecodedCodePoint next = decode_code_point(text, end);
    if (next.value == kInvalidCodePoint) break;
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state)) {
      break;
    }
    // U+FE0F asks for the emoji form of a character that is otherwise one column wide.
    width = std::max(width, next.value == 0xfe0f ? size_t{2} : columns(next.value));
    end += next.bytes;
    last = next;
  }
  return {end, width};
}

}  // namespace

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size();) {
    const Cluster cluster = next_cluster(text, at);
    width += cluster.width;
    at = cluster.end;
  }
  return width;
}

}  // namespace hadal
