// Strings of the template interpreter. A string knows, byte for byte, whether it was written by the
// template (trusted: special tokens are read in it) or by a user, a model or a tool (untrusted).
// The mark follows every byte through slicing, joining, replacing and case mapping, so a user who
// types "<|im_end|>" can never make a control token of it.
//
// All text is valid UTF-8: it is repaired where it enters (valid_utf8), and positions inside a Text
// always lie on the borders of code points. Python counts code points; the helpers below translate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/text_piece.h"

namespace hadal::jinja {

enum class Trust : bool { untrusted, trusted };

class Text {
 public:
  Text() = default;
  Text(std::string bytes, Trust trust) : bytes_(std::move(bytes)), first_(trust) {}
  static Text trusted(std::string_view bytes) { return Text(std::string(bytes), Trust::trusted); }

  const std::string& bytes() const { return bytes_; }
  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  bool all_trusted() const { return flips_.empty() && (empty() || first_ == Trust::trusted); }
  Trust trust_at(size_t byte) const;  // byte < size()
  // The trust of new text derived from the whole: trusted only where every byte is.
  Trust trust_of_whole() const { return all_trusted() ? Trust::trusted : Trust::untrusted; }

  void append(const Text& other) { append_slice(other, 0, other.size()); }
  void append(std::string_view bytes, Trust trust);
  void append_slice(const Text& other, size_t begin, size_t end);
  Text slice(size_t begin, size_t end) const;
  void clear();

  // The runs of equal trust, in order; no run is empty.
  std::vector<TextPiece> pieces() const;

  // What the marks cost beside the bytes.
  size_t memory_bytes() const { return bytes_.size() + flips_.size() * sizeof(uint32_t); }

 private:
  std::string bytes_;
  Trust first_ = Trust::trusted;
  std::vector<uint32_t> flips_;  // ascending byte positions, > 0, at which trust changes
};

// --- UTF-8 ---

// The text with every byte that is not part of a well-formed code point replaced by U+FFFD.
std::string valid_utf8(std::string_view text);
void append_utf8(std::string& text,
                 uint32_t code_point);  // a surrogate or a value above U+10FFFF becomes U+FFFD

struct CodePoint {
  uint32_t value;
  uint32_t bytes;  // 1..4
};
CodePoint code_point_at(std::string_view valid_text, size_t byte);
size_t code_point_before(std::string_view valid_text,
                         size_t byte);  // start of the code point that ends at byte > 0
size_t count_code_points(std::string_view valid_text);
// Byte position of the index-th code point, size() when there are fewer.
size_t code_point_offset(std::string_view valid_text, size_t index);

// --- characters, as Python's str sees them ---

bool is_space(uint32_t code_point);
bool is_line_break(uint32_t code_point);  // of str.splitlines
bool is_printable(uint32_t code_point);   // of repr
bool is_letter(uint32_t code_point);
bool is_decimal(uint32_t code_point);
bool is_digit(uint32_t code_point);
bool is_numeric(uint32_t code_point);
bool is_word(uint32_t code_point);  // \w
enum class Casing : uint8_t { none, lower, upper, title };
Casing casing_of(uint32_t code_point);

enum class CaseMapping : uint8_t { lower, upper, title };
// Full case mapping of one code point ("ß" becomes "SS"); context (final sigma) is map_case's
// affair.
void append_mapped(std::string& text, uint32_t code_point, CaseMapping mapping);
Text map_case(const Text& text,
              CaseMapping mapping);  // str.lower, str.upper; title: every code point to title case

// --- str methods that keep the marks ---

enum class Sides : uint8_t { both, left, right };
// characters: the set to remove; null means white space.
Text strip(const Text& text, Sides sides, const std::string* characters);
// separator not empty. splits_max < 0: no limit.
std::vector<Text> split(const Text& text, std::string_view separator, int64_t splits_max);
std::vector<Text> split_white_space(const Text& text, int64_t splits_max);
std::vector<Text> split_from_right(const Text& text, std::string_view separator,
                                   int64_t splits_max);
std::vector<Text> split_white_space_from_right(const Text& text, int64_t splits_max);
std::vector<Text> split_lines(const Text& text, bool keep_breaks);
// How many non-overlapping times, at most limit (limit < 0: all). An empty needle is found at every
// code point and the end.
size_t count_occurrences(std::string_view text, std::string_view needle, int64_t limit);
Text replace(const Text& text, std::string_view old_text, const Text& new_text,
             int64_t replacements_max);
Text capitalize(const Text& text);
Text swap_case(const Text& text);
Text title_case(const Text& text);  // str.title: every run of cased letters
// Python's sentence rules: lower() knows the final sigma.

// The literal Python would print for the string: quotes, escapes.
std::string python_literal(std::string_view text);

}  // namespace hadal::jinja
