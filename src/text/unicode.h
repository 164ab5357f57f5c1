// Unicode as the text room needs it: decoding bytes that may not be UTF-8, classes of code points
// (the \p{L}, \p{N} ... of tokenizer patterns), normal forms, and the width of text on a terminal.
// All functions are pure; any thread may call them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hadal {

// ---- UTF-8 (RFC 3629: no surrogates, nothing above U+10FFFF, shortest form only)

inline constexpr uint32_t kInvalidCodePoint = 0xffffffff;
inline constexpr uint32_t kReplacementCharacter = 0xfffd;

struct DecodedCodePoint {
  uint32_t value = kInvalidCodePoint;
  uint8_t bytes = 0;  // consumed: at least 1; for invalid input the maximal subpart (Unicode 15,
                      // section 3.9, D93b)
};

// The code point that begins at text[at]; at < text.size().
DecodedCodePoint decode_code_point(std::string_view text, size_t at);

void append_code_point(std::string& text, uint32_t code_point);

// How many bytes from the start are whole, valid characters.
size_t valid_utf8_prefix(std::string_view text);

// How many bytes at the end are the beginning of a character that further bytes could complete: 0
// to 3.
size_t incomplete_utf8_suffix(std::string_view text);

// Every maximal invalid subpart becomes U+FFFD; valid text is unchanged.
std::string replace_invalid_utf8(std::string_view text);

// ---- Classes of code points (Unicode 15, by utf8proc)

enum CodePointClass : uint8_t {
  kLetterClass = 1,       // \p{L}
  kMarkClass = 2,         // \p{M}
  kNumberClass = 4,       // \p{N}
  kPunctuationClass = 8,  // \p{P}
  kSymbolClass = 16,      // \p{S}
  kSpaceClass =
      32,  // White_Space: what \s means to Oniguruma and Rust (PCRE2 counts U+180E as well)
  kInvalidClass = 128,  // no code point at all: a byte that is not UTF-8
};

// A two-level table: code points in blocks of 256, equal blocks stored once.
class CodePointClasses {
 public:
  static const CodePointClasses& table();  // made on first use, about a millisecond

  uint8_t of(uint32_t code_point) const {
    if (code_point >= kCodePoints) return kInvalidClass;
    return blocks_[block_of_[code_point >> 8]][code_point & 0xff];
  }

 private:
  static constexpr uint32_t kCodePoints = 0x110000;
  CodePointClasses();
  std::array<uint16_t, kCodePoints / 256> block_of_;
  std::vector<std::array<uint8_t, 256>> blocks_;
};

// ---- Normal forms

enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// text must be valid UTF-8.
Result<std::string> normalize(std::string_view text, NormalForm form);

// ---- Width on a terminal

// Columns that the text takes: 2 for wide East Asian characters and emoji, 0 for combining marks
// and control characters. A grapheme cluster (an emoji family) is as wide as its widest part.
// Invalid bytes count as one column each subpart.
size_t display_width(std::string_view text);

}  // namespace hadal
