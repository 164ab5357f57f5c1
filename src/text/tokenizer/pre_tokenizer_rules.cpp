#include "text/tokenizer/pre_tokenizer_rules.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "text/unicode.h"

namespace hadal {
namespace {

// A code point in the text; bytes is 0 behind the end.
struct Character {
  uint32_t value = 0;
  uint8_t bytes = 0;
  uint8_t classes = 0;

  bool is(uint8_t any_of) const { return (classes & any_of) != 0; }
  bool is_line_break() const {
    return value == '\r' || value == '\n';
  }  // never true behind the end: value 0
};

// The text up to the end of the piece at hand. Offsets count from the start of the whole text.
class Piece {
 public:
  explicit Piece(std::string_view text) : text_(text), classes_(CodePointClasses::table()) {}
  Piece until(size_t end) const { return Piece(text_.substr(0, end), classes_); }
  size_t end() const { return text_.size(); }

  Character at(size_t offset) const {
    if (offset >= text_.size()) return {};
    const uint8_t first = static_cast<uint8_t>(text_[offset]);
    if (first < 0x80) return {first, 1, classes_.of(first)};
    const DecodedCodePoint decoded = decode_code_point(text_, offset);
    return {decoded.value, decoded.bytes, classes_.of(decoded.value)};
  }

  // The end of the run of characters that satisfy the predicate, from offset on.
  template <typename Predicate>
  size_t run(size_t offset, Predicate belongs) const {
    for (Character c = at(offset); c.bytes != 0 && belongs(c); c = at(offset)) offset += c.bytes;
    return offset;
  }

 private:
  Piece(std::string_view text, const CodePointClasses& classes) : text_(text), classes_(classes) {}
  std::string_view text_;
  const CodePointClasses& classes_;
};

// ---- Stages. Each cuts [begin, piece.end()) and hands every part on: next(begin, end).

// match(piece, offset, character) gives the end of the match at offset, or 0 for none. Matches, and
// the stretches between, are parts.
template <typename Match, typename Next>
void cut(Piece piece, size_t begin, Match match, Next next) {
  size_t gap = begin;
  for (size_t at = begin; at < piece.end();) {
    const Character c = piece.at(at);
    const size_t end = match(piece, at, c);
    if (end == 0) {
      at += c.bytes;
      continue;
    }
    if (gap < at) next(gap, at);
    next(at, end);
    at = gap = end;
  }
  if (gap < piece.end()) next(gap, piece.end());
}

// [set]+
template <typename Predicate>
auto run_of(Predicate belongs) {
  return [belongs](const Piece& piece, size_t at, Character c) -> size_t {
    return belongs(c) ? piece.run(at + c.bytes, belongs) : 0;
  };
}

// \s?[set]+
template <typename Predicate>
auto spaced_run_of(Predicate belongs) {
  return [belongs](const Piece& piece, size_t at, Character c) -> size_t {
    const size_t after = at + c.bytes;
    if (c.is(kSpaceClass)) {
      const size_t end = piece.run(after, belongs);
      if (end > after) return end;
    }
    return belongs(c) ? piece.run(after, belongs) : 0;
  };
}

bool is_number(Character c) {
  return c.is(kNumberClass);
}
bool is_letter(Character c) {
  return c.is(kLetterClass);
}
bool is_punctuation(Character c) {
  return c.is(kPunctuationClass);
}
bool is_space(Character c) {
  return c.is(kSpaceClass);
}

// \p{N}{1,kDigits}
template <size_t kDigits>
size_t match_digits(const Piece& piece, size_t at, Character c) {
  size_t digits = 0;
  while (digits < kDigits && is_number(c)) {
    at += c.bytes;
    ++digits;
    c = piece.at(at);
  }
  return digits == 0 ? 0 : at;
}

size_t match_line_break(const Piece&, size_t at, Character c) {
  return c.is_line_break() ? at + 1 : 0;
}

// The rest of the patterns once letters, numbers and symbols are dealt with:
// \s*[\r\n]+ (where kLineBreaks) | \s+(?!\S) | \s+
template <bool kLineBreaks>
size_t match_space(const Piece& piece, size_t at, Character c) {
  if (!c.is(kSpaceClass)) return 0;
  size_t end = at, last = at, behind_break = 0;
  while (c.is(kSpaceClass)) {
    last = end;
    end += c.bytes;
    if (c.is_line_break()) behind_break = end;
    c = piece.at(end);
  }
  if (kLineBreaks && behind_break != 0) return behind_break;
  if (c.bytes == 0 || last == at) return end;
  return last;  // the last space goes with what follows
}

uint32_t fold_ascii(uint32_t code_point) {
  if (code_point == 0x17f)
    return 's';  // LATIN SMALL LETTER LONG S: s in a pattern without regard to case
  return code_point >= 'A' && code_point <= 'Z' ? code_point + 32 : code_point;
}

// 's|'t|'re|'ve|'m|'ll|'d, or (?i:...) of it
template <bool kAnyCase>
size_t match_contraction(const Piece& piece, size_t at, Character c) {
  if (c.value != '\'') return 0;
  const Character first = piece.at(at + 1);
  const uint32_t a = kAnyCase ? fold_ascii(first.value) : first.value;
  const size_t behind_first = at + 1 + first.bytes;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return behind_first;
  if (a != 'r' && a != 'v' && a != 'l') return 0;
  const Character second = piece.at(behind_first);
  const uint32_t b = kAnyCase ? fold_ascii(second.value) : second.value;
  const bool matches = a == 'l' ? b == 'l' : b == 'e';
  return matches ? behind_first + second.bytes : 0;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t match_gpt2(const Piece& piece, size_t at, Character c) {
  if (const size_t end = match_contraction<false>(piece, at, c)) return end;
  const size_t start = at;
  if (c.value == ' ') {
    const Character next = piece.at(at + 1);
    if (next.bytes != 0 && !next.is(kSpaceClass)) {
      at += 1;
      c = next;
    }
  }
  if (is_letter(c)) return piece.run(at + c.bytes, is_letter);
  if (is_number(c)) return piece.run(at + c.bytes, is_number);
  if (!is_space(c)) {
    return piece.run(at + c.bytes, [](Character other) {
      return !other.is(kSpaceClass | kLetterClass | kNumberClass);
    });
  }
  return match_space<false>(piece, start, c);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[letters]+|\p{N}{1,kDigits}| ?[^\s letters
// \p{N}]+[\r\n]*
// |\s*[\r\n]+|\s+(?!\S)|\s+   where letters is \p{L}, or \p{L}\p{M}
template <uint8_t kLetters, size_t kDigits>
size_t match_llama3(const Piece& piece, size_t at, Character c) {
  if (const size_t end = match_contraction<true>(piece, at, c)) return end;
  const auto is_word = [](Character other) { return other.is(kLetters); };
  const size_t after = at + c.bytes;
  if (is_word(c)) return piece.run(after, is_word);
  if (is_number(c)) return match_digits<kDigits>(piece, at, c);
  if (!c.is_line_break() && is_word(piece.at(after))) return piece.run(after, is_word);
  const auto is_other = [](Character other) {
    return !other.is(kSpaceClass | kNumberClass | kLetters);
  };
  const Character next = piece.at(after);
  const bool spaced = c.value == ' ' && next.bytes != 0 && is_other(next);
  if (spaced || is_other(c)) {
    const size_t end = piece.run(spaced ? after + next.bytes : after, is_other);
    return piece.run(end, [](Character other) { return other.is_line_break(); });
  }
  return match_space<true>(piece, at, c);
}

bool is_ascii_letter(Character c) {
  return (c.value >= 'a' && c.value <= 'z') || (c.value >= 'A' && c.value <= 'Z');
}

// [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
// ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
size_t match_deepseek_v3(const Piece& piece, size_t at, Character c) {
  const auto is_word = [](Character other) { return other.is(kLetterClass | kMarkClass); };
  const auto is_symbol = [](Character other) { return other.is(kPunctuationClass | kSymbolClass); };
  const size_t after = at + c.bytes;
  if (is_word(c)) return piece.run(after, is_word);
  const Character next = piece.at(after);
  if (is_symbol(c)) {
    if (c.value < 0x80 && is_ascii_letter(next)) return piece.run(after, is_ascii_letter);
  } else if (!c.is_line_break() && is_word(next)) {
    return piece.run(after, is_word);
  }
  const bool spaced = c.value == ' ' && is_symbol(next);
  if (spaced || is_symbol(c)) {
    const size_t end = piece.run(spaced ? after + next.bytes : after, is_symbol);
    return piece.run(end, [](Character other) { return other.is_line_break(); });
  }
  return match_space<true>(piece, at, c);  // nothing: control characters and the unassigned
}

// [一-龥぀-ゟ゠-ヿ]
bool is_v3_cjk(Character c) {
  return (c.value >= 0x4e00 && c.value <= 0x9fa5) || (c.value >= 0x3040 && c.value <= 0x30ff);
}

// [一-龥ࠀ-一가-퟿]
bool is_llm_cjk(Character c) {
  return (c.value >= 0x800 && c.value <= 0x9fa5) || (c.value >= 0xac00 && c.value <= 0xd7ff);
}

// [!-/:-~！-／：-～‘-‟　-。]
bool is_llm_punctuation(Character c) {
  const uint32_t v = c.value;
  return (v >= '!' && v <= '/') || (v >= ':' && v <= '~') || (v >= 0xff01 && v <= 0xff0f) ||
         (v >= 0xff1a && v <= 0xff5e) || (v >= 0x2018 && v <= 0x201f) ||
         (v >= 0x3000 && v <= 0x3002);
}

struct Range {
  uint32_t first, last;
};

// The letters with case that DeepSeek-LLM's tokenizer.json spells out: \p{LC} of some Unicode
// version, with gaps.
constexpr Range kLlmLetters[] = {
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},       {0xc0, 0xd6},
    {0xd8, 0xf6},       {0xf8, 0x1ba},      {0x1bc, 0x1bf},     {0x1c4, 0x293},
    {0x295, 0x2af},     {0x370, 0x373},     {0x376, 0x377},     {0x37b, 0x37d},
    {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},     {0x38c, 0x38c},
    {0x38e, 0x3a1},     {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},
    {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},   {0x13f8, 0x13fd},
    {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},
    {0x1d79, 0x1d9a},   {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},
    {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},   {0x1f5b, 0x1f5b},
    {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},
    {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},
    {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},   {0x1ff6, 0x1ffc},
    {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210a, 0x2113},   {0x2115, 0x2115},
    {0x2119, 0x211d},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},   {0x213c, 0x213f},
    {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2184},   {0x2c00, 0x2c7b},
    {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf3},   {0xa640, 0xa66d},
    {0xa680, 0xa69b},   {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},
    {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},   {0xff21, 0xff3a},
    {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb},
    {0x10c80, 0x10cb2}, {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943}};

bool is_llm_letter(Character c) {
  if (c.value < 0x80) return is_ascii_letter(c);
  const Range* const range =
      std::lower_bound(std::begin(kLlmLetters), std::end(kLlmLetters), c.value,
                       [](const Range& r, uint32_t value) { return r.last < value; });
  return range != std::end(kLlmLetters) && range->first <= c.value;
}

// \s+$
template <typename Next>
void cut_trailing_space(Piece piece, size_t begin, Next next) {
  size_t space = begin;  // where the whitespace begins that lasts to the piece's end
  for (size_t at = begin; at < piece.end();) {
    const Character c = piece.at(at);
    at += c.bytes;
    if (!is_space(c)) space = at;
  }
  if (begin < space) next(begin, space);
  if (space < piece.end()) next(space, piece.end());
}

// Bytes that are no character become words; each stretch between them is split on its own:
// split(piece, begin).
template <typename Split>
void for_valid_stretches(std::string_view text, WordSink& sink, Split split) {
  const Piece whole(text);
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t valid_end = begin + valid_utf8_prefix(text.substr(begin));
    if (begin < valid_end) split(whole.until(valid_end), begin);
    begin = whole.run(valid_end, [](Character c) { return c.is(kInvalidClass); });
    if (valid_end < begin) sink.word(valid_end, begin);
  }
}

auto emit_to(WordSink& sink) {
  return [&sink](size_t begin, size_t end) { sink.word(begin, end); };
}

// First each run of up to kDigits numbers is set apart, then the rest is split by `match`.
template <size_t kDigits, typename Match>
void split_digits_then(std::string_view text, WordSink& sink, Match match) {
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, match_digits<kDigits>,
        [&](size_t b, size_t e) { cut(stretch.until(e), b, match, emit_to(sink)); });
  });
}

}  // namespace

void split_gpt2(std::string_view text, WordSink& sink) {
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, match_gpt2, emit_to(sink));
  });
}

void split_smollm(std::string_view text, WordSink& sink) {
  split_digits_then<1>(text, sink, match_gpt2);
}

void split_llama3(std::string_view text, WordSink& sink) {
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, match_llama3<kLetterClass, 3>, emit_to(sink));
  });
}

void split_qwen2(std::string_view text, WordSink& sink) {
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, match_llama3<kLetterClass, 1>, emit_to(sink));
  });
}

void split_qwen35(std::string_view text, WordSink& sink) {
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, match_llama3<kLetterClass | kMarkClass, 1>, emit_to(sink));
  });
}

void split_deepseek_v3(std::string_view text, WordSink& sink) {
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, match_digits<3>, [&](size_t b, size_t e) {
      const Piece piece = stretch.until(e);
      cut(piece, b, run_of(is_v3_cjk), [&](size_t b2, size_t e2) {
        cut(piece.until(e2), b2, match_deepseek_v3, emit_to(sink));
      });
    });
  });
}

void split_deepseek_llm(std::string_view text, WordSink& sink) {
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, match_line_break, [&](size_t b1, size_t e1) {
      cut(stretch.until(e1), b1, spaced_run_of(is_llm_letter), [&](size_t b2, size_t e2) {
        cut(stretch.until(e2), b2, spaced_run_of(is_llm_punctuation), [&](size_t b3, size_t e3) {
          cut_trailing_space(stretch.until(e3), b3, [&](size_t b4, size_t e4) {
            cut(stretch.until(e4), b4, run_of(is_llm_cjk), [&](size_t b5, size_t e5) {
              cut(stretch.until(e5), b5, run_of(is_number), emit_to(sink));
            });
          });
        });
      });
    });
  });
}

void split_deepseek_coder(std::string_view text, WordSink& sink) {
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, match_line_break, [&](size_t b1, size_t e1) {
      cut(stretch.until(e1), b1, spaced_run_of(is_letter), [&](size_t b2, size_t e2) {
        cut(stretch.until(e2), b2, spaced_run_of(is_punctuation), [&](size_t b3, size_t e3) {
          cut(stretch.until(e3), b3, run_of(is_llm_cjk), [&](size_t b4, size_t e4) {
            cut(stretch.until(e4), b4, match_digits<1>, emit_to(sink));
          });
        });
      });
    });
  });
}

void split_default(std::string_view text, WordSink& sink) {
  // [\p{P}\$\+<=>\^~\|]+
  const auto is_separator = [](Character c) {
    constexpr std::string_view kSymbols = "$+<=>^~|";
    return is_punctuation(c) ||
           (c.value < 0x80 && kSymbols.find(static_cast<char>(c.value)) != std::string_view::npos);
  };
  // [0-9][0-9][0-9]
  const auto match_three_digits = [](const Piece& piece, size_t at, Character) -> size_t {
    for (size_t i = 0; i < 3; ++i) {
      const uint32_t value = piece.at(at + i).value;
      if (value < '0' || value > '9') return 0;
    }
    return at + 3;
  };
  for_valid_stretches(text, sink, [&](Piece stretch, size_t begin) {
    cut(stretch, begin, run_of(is_separator), [&](size_t b1, size_t e1) {
      cut(stretch.until(e1), b1, match_gpt2, [&](size_t b2, size_t e2) {
        cut(stretch.until(e2), b2, run_of(is_number), [&](size_t b3, size_t e3) {
          cut(stretch.until(e3), b3, match_three_digits, emit_to(sink));
        });
      });
    });
  });
}

std::string deepseek_llm_letters_pattern() {
  std::string pattern = R"(\s?[)";
  for (const Range& range : kLlmLetters) {
    append_code_point(pattern, range.first);
    if (range.last > range.first + 1) pattern += '-';
    if (range.last > range.first) append_code_point(pattern, range.last);
  }
  return pattern + "]+";
}

}  // namespace hadal
