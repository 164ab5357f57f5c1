// What Python's str knows about single characters and their case. Categories and simple mappings
// come from utf8proc; the mappings to several code points are listed here (SpecialCasing.txt of the
// Unicode Character Database, without the polytonic Greek ones, which keep their simple mapping).
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/template/jinja_text.h"

namespace hadal::jinja {
namespace {

utf8proc_category_t category(uint32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

struct SpecialCase {
  uint32_t code_point;
  std::string_view upper;
  std::string_view title;
};

constexpr std::array kSpecialCases = {
    SpecialCase{0x00DF, "SS", "Ss"},
    SpecialCase{0x0149, "\u02BCN", "\u02BCN"},
    SpecialCase{0x01F0, "J\u030C", "J\u030C"},
    SpecialCase{0x0390, "\u0399\u0308\u0301", "\u0399\u0308\u0301"},
    SpecialCase{0x03B0, "\u03A5\u0308\u0301", "\u03A5\u0308\u0301"},
    SpecialCase{0x0587, "\u0535\u0552", "\u0535\u0582"},
    SpecialCase{0x1E96, "H\u0331", "H\u0331"},
    SpecialCase{0x1E97, "T\u0308", "T\u0308"},
    SpecialCase{0x1E98, "W\u030A", "W\u030A"},
    SpecialCase{0x1E99, "Y\u030A", "Y\u030A"},
    SpecialCase{0x1E9A, "A\u02BE", "A\u02BE"},
    SpecialCase{0xFB00, "FF", "Ff"},
    SpecialCase{0xFB01, "FI", "Fi"},
    SpecialCase{0xFB02, "FL", "Fl"},
    SpecialCase{0xFB03, "FFI", "Ffi"},
    SpecialCase{0xFB04, "FFL", "Ffl"},
    SpecialCase{0xFB05, "ST", "St"},
    SpecialCase{0xFB06, "ST", "St"},
    SpecialCase{0xFB13, "\u0544\u0546", "\u0544\u0576"},
    SpecialCase{0xFB14, "\u0544\u0535", "\u0544\u0565"},
    SpecialCase{0xFB15, "\u0544\u053B", "\u0544\u056B"},
    SpecialCase{0xFB16, "\u054E\u0546", "\u054E\u0576"},
    SpecialCase{0xFB17, "\u0544\u053D", "\u0544\u056D"},
};

constexpr uint32_t kCapitalSigma = 0x3A3;
constexpr uint32_t kFinalSigma = 0x3C2;
constexpr uint32_t kCapitalDottedI = 0x130;

bool is_case_ignorable(uint32_t code_point) {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return code_point == '\'' || code_point == '.' || code_point == ':' || code_point == 0xB7 ||
             code_point == 0x2019;
  }
}

bool is_final_sigma(std::string_view text, size_t at) {
  size_t before = at;
  bool cased_before = false;
  while (before > 0) {
    before = code_point_before(text, before);
    const uint32_t value = code_point_at(text, before).value;
    if (is_case_ignorable(value)) continue;
    cased_before = casing_of(value) != Casing::none;
    break;
  }
  if (!cased_before) return false;
  for (size_t next = at + code_point_at(text, at).bytes; next < text.size();) {
    const CodePoint code_point = code_point_at(text, next);
    if (!is_case_ignorable(code_point.value)) return casing_of(code_point.value) == Casing::none;
    next += code_point.bytes;
  }
  return true;
}

// Maps the code point at `at` in its sentence and appends it with its own trust; returns the
// position after it.
size_t append_mapped_at(Text& result, const Text& text, size_t at, CaseMapping mapping) {
  const CodePoint code_point = code_point_at(text.view(), at);
  std::string mapped;
  if (code_point.value < 0x80) {
    const char c = static_cast<char>(code_point.value);
    const bool lower = c >= 'a' && c <= 'z';
    const bool upper = c >= 'A' && c <= 'Z';
    const bool changes = mapping == CaseMapping::lower ? upper : lower;
    mapped.push_back(changes ? static_cast<char>(c ^ 0x20) : c);
  } else if (mapping == CaseMapping::lower && code_point.value == kCapitalSigma &&
             is_final_sigma(text.view(), at)) {
    append_utf8(mapped, kFinalSigma);
  } else {
    append_mapped(mapped, code_point.value, mapping);
  }
  result.append(mapped, text.trust_at(at));
  return at + code_point.bytes;
}

}  // namespace

bool is_space(uint32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_break(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool is_printable(uint32_t code_point) {
  if (code_point == ' ') return true;
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_letter(uint32_t code_point) {
  const utf8proc_category_t c = category(code_point);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(uint32_t code_point) {
  return category(code_point) == UTF8PROC_CATEGORY_ND;
}

bool is_digit(uint32_t c) {  // decimals and superscripts, subscripts, circled digits
  const bool super_or_sub = c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
                            (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089);
  const bool circled = (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) ||
                       (c >= 0x2488 && c <= 0x2490) || c == 0x24EA || c == 0x24FF ||
                       (c >= 0x24F5 && c <= 0x24FD) || (c >= 0x2776 && c <= 0x277E) ||
                       (c >= 0x2780 && c <= 0x2788) || (c >= 0x278A && c <= 0x2792);
  return is_decimal(c) || super_or_sub || circled;
}

bool is_numeric(uint32_t c) {
  // The ideographs that are numbers are letters by category.
  constexpr std::array<uint32_t, 29> ideographs = {
      0x3007, 0x4E00, 0x4E03, 0x4E07, 0x4E09, 0x4E24, 0x4E5D, 0x4E8C, 0x4E94, 0x4EBF,
      0x4EDF, 0x4F0D, 0x4F70, 0x5104, 0x5146, 0x516B, 0x516D, 0x5341, 0x5343, 0x56DB,
      0x58F1, 0x58F9, 0x5EFF, 0x5F0C, 0x5F0D, 0x5F0E, 0x62FE, 0x767E, 0x842C};
  const utf8proc_category_t kind = category(c);
  return is_digit(c) || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO ||
         std::binary_search(ideographs.begin(), ideographs.end(), c);
}

bool is_word(uint32_t code_point) {
  return code_point == '_' || is_letter(code_point) || is_numeric(code_point);
}

Casing casing_of(uint32_t code_point) {
  if (category(code_point) == UTF8PROC_CATEGORY_LT) return Casing::title;
  const auto value = static_cast<utf8proc_int32_t>(code_point);
  if (utf8proc_islower(value)) return Casing::lower;
  if (utf8proc_isupper(value)) return Casing::upper;
  return Casing::none;
}

void append_mapped(std::string& text, uint32_t code_point, CaseMapping mapping) {
  const auto value = static_cast<utf8proc_int32_t>(code_point);
  if (mapping == CaseMapping::lower) {
    if (code_point == kCapitalDottedI) {
      text.append("i\u0307");
    } else {
      append_utf8(text, static_cast<uint32_t>(utf8proc_tolower(value)));
    }
    return;
  }
  const auto special = std::lower_bound(
      kSpecialCases.begin(), kSpecialCases.end(), code_point,
      [](const SpecialCase& entry, uint32_t wanted) { return entry.code_point < wanted; });
  const bool upper = mapping == CaseMapping::upper;
  if (special != kSpecialCases.end() && special->code_point == code_point) {
    text.append(upper ? special->upper : special->title);
  } else {
    append_utf8(text,
                static_cast<uint32_t>(upper ? utf8proc_toupper(value) : utf8proc_totitle(value)));
  }
}

Text map_case(const Text& text, CaseMapping mapping) {
  Text result;
  for (size_t at = 0; at < text.size();) at = append_mapped_at(result, text, at, mapping);
  return result;
}

Text capitalize(const Text& text) {
  Text result;
  size_t at = 0;
  if (!text.empty()) at = append_mapped_at(result, text, 0, CaseMapping::title);
  while (at < text.size()) at = append_mapped_at(result, text, at, CaseMapping::lower);
  return result;
}

Text swap_case(const Text& text) {
  Text result;
  for (size_t at = 0; at < text.size();) {
    const Casing casing = casing_of(code_point_at(text.view(), at).value);
    at = append_mapped_at(result, text, at,
                          casing == Casing::lower ? CaseMapping::upper : CaseMapping::lower);
  }
  return result;
}

Text title_case(const Text& text) {
  Text result;
  bool inside_word = false;
  for (size_t at = 0; at < text.size();) {
    const bool cased = casing_of(code_point_at(text.view(), at).value) != Casing::none;
    at = append_mapped_at(result, text, at, inside_word ? CaseMapping::lower : CaseMapping::title);
    inside_word = cased;
  }
  return result;
}

}  // namespace hadal::jinja
