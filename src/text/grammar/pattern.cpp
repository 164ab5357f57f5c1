#include "text/grammar/pattern.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/utf8.h"

namespace hadal {
namespace {

constexpr uint32_t kLastCharacter = 0x10FFFF;
constexpr uint32_t kUnbounded = UINT32_MAX;
constexpr size_t kGroupsDepthMax = 32;

using Characters = std::vector<CodeRange>;  // of a class; sorted and disjoint once normal()

struct Expression {
  enum class Kind : uint8_t { kCharacters, kSequence, kEither, kRepeat, kStart, kEnd };
  Kind kind = Kind::kSequence;
  Characters characters;
  std::vector<Expression> parts;
  uint32_t repeat_min = 0, repeat_max = 0;
};

const Characters kDigits = {{'0', '9'}};
const Characters kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const Characters kSpace = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                           {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                           {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const Characters kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

Characters normal(Characters ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const CodeRange& a, const CodeRange& b) { return a.first < b.first; });
  Characters joined;
  for (const CodeRange& range : ranges) {
    if (!joined.empty() && range.first <= joined.back().last + 1) {
      joined.back().last = std::max(joined.back().last, range.last);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

Characters all_but(const Characters& ranges) {
  Characters others;
  uint32_t next = 0;
  for (const CodeRange& range : normal(ranges)) {
    if (range.first > next) others.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCharacter) others.push_back({next, kLastCharacter});
  return others;
}

class PatternParser {
 public:
  PatternParser(std::u32string text, uint32_t repeats_max)
      : text_(std::move(text)), repeats_max_(repeats_max) {}

  Result<Expression> parse() {
    HADAL_TRY(auto expression, alternatives(0));
    if (!done()) return fail("an unmatched ) at character {}", at_ + 1);
    return expression;
  }

 private:
  bool done() const { return at_ == text_.size(); }
  bool next_is(char32_t c) const { return !done() && text_[at_] == c; }
  bool take(char32_t c) {
    if (!next_is(c)) return false;
    ++at_;
    return true;
  }

  Result<Expression> alternatives(size_t depth) {
    if (depth > kGroupsDepthMax) return fail("groups more than {} deep", kGroupsDepthMax);
    Expression either{.kind = Expression::Kind::kEither};
    do {
      HADAL_TRY(auto part, sequence(depth));
      either.parts.push_back(std::move(part));
    } while (take('|'));
    return either.parts.size() == 1 ? std::move(either.parts[0]) : std::move(either);
  }

  Result<Expression> sequence(size_t depth) {
    Expression sequence;
    while (!done() && !next_is('|') && !next_is(')')) {
      HADAL_TRY(auto part, atom(depth));
      const bool is_anchor =
          part.kind == Expression::Kind::kStart || part.kind == Expression::Kind::kEnd;
      HADAL_TRY(const auto repeat, quantifier());
      if (repeat) {
        if (is_anchor) return fail("an anchor is repeated before character {}", at_ + 1);
        Expression repeated{.kind = Expression::Kind::kRepeat,
                            .repeat_min = repeat->first,
                            .repeat_max = repeat->last};
        repeated.parts.push_back(std::move(part));
        part = std::move(repeated);
      }
      sequence.parts.push_back(std::move(part));
    }
    return sequence;
  }

  Result<Expression> atom(size_t depth) {
    const char32_t c = text_[at_++];
    switch (c) {
      case '^':
        return Expression{.kind = Expression::Kind::kStart};
      case '$':
        return Expression{.kind = Expression::Kind::kEnd};
      case '.':
        return of(all_but(kLineEnds));
      case '[':
        return character_class();
      case '\\': {
        HADAL_TRY(auto characters, escape(/*in_class=*/false));
        return of(std::move(characters));
      }
      case '(': {
        if (take('?') && !take(':')) {
          return fail("(? at character {}: looking ahead or behind, named groups and flags",
                      at_ - 1);
        }
        HADAL_TRY(auto group, alternatives(depth + 1));
        if (!take(')')) return fail("a group without its )");
        return group;
      }
      case '*':
      case '+':
      case '?':
      case '{':
      case '}':
      case ']':
        return fail("a lone {} at character {}", static_cast<char>(c), at_);
      default:
        return of({{c, c}});
    }
  }

  static Expression of(Characters characters) {
    return Expression{.kind = Expression::Kind::kCharacters, .characters = std::move(characters)};
  }

  Result<std::optional<CodeRange>> quantifier() {
    CodeRange repeat = {0, kUnbounded};
    if (take('*')) {
    } else if (take('+')) {
      repeat.first = 1;
    } else if (take('?')) {
      repeat.last = 1;
    } else if (take('{')) {
      HADAL_TRY(repeat.first, number());
      repeat.last = repeat.first;
      if (take(',')) {
        repeat.last = kUnbounded;
        if (!next_is('}')) {
          HADAL_TRY(repeat.last, number());
        }
      }
      if (!take('}')) return fail("a repetition that is not {{n}}, {{n,}} or {{n,m}}");
      if (repeat.first > repeat.last)
        return fail("a repetition whose bounds are in the wrong order");
    } else {
      return std::optional<CodeRange>();
    }
    take('?');
    return repeat;
  }

  Result<uint32_t> number() {
    uint32_t value = 0;
    const size_t first = at_;
    for (; !done() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      value = value * 10 + static_cast<uint32_t>(text_[at_] - '0');
      if (value > repeats_max_) return fail("more than {} repetitions", repeats_max_);
    }
    if (at_ == first) return fail("a repetition without a number at character {}", at_ + 1);
    return value;
  }

  Result<Expression> character_class() {
    const bool negated = take('^');
    Characters characters;
    while (!next_is(']')) {
      if (done()) return fail("a class without its ]");
      HADAL_TRY(const Characters first, class_item());
      if (next_is('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        HADAL_TRY(const Characters last, class_item());
        const bool are_single = first.size() == 1 && first[0].first == first[0].last &&
                                last.size() == 1 && last[0].first == last[0].last;
        if (!are_single || first[0].first > last[0].first) {
          return fail("a range of characters in the wrong order or of classes before character {}",
                      at_ + 1);
        }
        characters.push_back({first[0].first, last[0].first});
      } else {
        characters.insert(characters.end(), first.begin(), first.end());
      }
    }
    ++at_;
    return of(negated ? all_but(characters) : normal(std::move(characters)));
  }

  Result<Characters> class_item() {
    if (done()) return fail("a class without its ]");
    const char32_t c = text_[at_++];
    if (c == '\\') return escape(/*in_class=*/true);
    return Characters{{c, c}};
  }

  Result<Characters> escape(bool in_class) {
    if (done()) return fail("a \\ at the end");
    const char32_t c = text_[at_++];
    const auto single = [](uint32_t character) { return Characters{{character, character}}; };
    switch (c) {
      case 'd':
        return kDigits;
      case 'D':
        return all_but(kDigits);
      case 'w':
        return kWord;
      case 'W':
        return all_but(kWord);
      case 's':
        return kSpace;
      case 'S':
        return all_but(kSpace);
      case 't':
        return single('\t');
      case 'n':
        return single('\n');
      case 'v':
        return single('\v');
      case 'f':
        return single('\f');
      case 'r':
        return single('\r');
      case 'x': {
        HADAL_TRY(const uint32_t code, hexadecimal(2));
        return single(code);
      }
      case 'u':
        return unicode_escape();
      case '0':
        if (!done() && text_[at_] >= '0' && text_[at_] <= '9') break;
        return single(0);
      case 'b':
        if (in_class) return single('\b');
        break;
      case '-':
        if (in_class) return single('-');
        break;
      default:
        if (c < 0x80 && std::string_view("^$\\.*+?()[]{}|/").find(static_cast<char>(c)) !=
                            std::string_view::npos) {
          return single(c);
        }
    }
    return fail("the escape \\{} before character {}",
                c >= 0x20 && c < 0x7F ? std::string(1, static_cast<char>(c)) : "?", at_ + 1);
  }

  Result<Characters> unicode_escape() {
    uint32_t code = 0;
    if (take('{')) {
      size_t digits = 0;
      for (; !next_is('}'); ++digits) {
        if (digits == 6) return fail("a \\u{{}} of more than six digits");
        HADAL_TRY(const uint32_t digit, hexadecimal(1));
        code = code * 16 + digit;
      }
      ++at_;
      if (digits == 0) return fail("an empty \\u{{}}");
    } else {
      HADAL_TRY(code, hexadecimal(4));
      if (code >= 0xD800 && code < 0xDC00 && take('\\') && take('u')) {
        HADAL_TRY(const uint32_t low, hexadecimal(4));
        if (low < 0xDC00 || low > 0xDFFF) return fail("half of a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
    }
    if (code > kLastCharacter || (code >= 0xD800 && code <= 0xDFFF)) {
      return fail("a \\u that is no character");
    }
    return Characters{{code, code}};
  }

  Result<uint32_t> hexadecimal(size_t digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char32_t c = done() ? U' ' : text_[at_++];
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<uint32_t>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        value = value * 16 + static_cast<uint32_t>((c | 0x20) - 'a') + 10;
      } else {
        return fail("an escape that lacks a hexadecimal digit at character {}", at_);
      }
    }
    return value;
  }

  const std::u32string text_;
  const uint32_t repeats_max_;
  size_t at_ = 0;
};

// Thompson's construction; a repetition is that many copies.
class PatternBuilder {
 public:
  PatternBuilder(ByteNfa& nfa, WorkBudget& budget) : nfa_(nfa), budget_(budget) {}

  // The node behind the expression.
  Result<uint32_t> add(const Expression& expression, uint32_t from) {
    HADAL_TRY_VOID(budget_.spend(1));
    if (nfa_.nodes() > budget_.states_max) return fail("it needs more states than the limit");
    using Kind = Expression::Kind;
    switch (expression.kind) {
      case Kind::kCharacters: {
        const uint32_t to = nfa_.add_node();
        HADAL_TRY_VOID(budget_.spend(expression.characters.size()));
        for (const CodeRange& range : expression.characters) nfa_.add_characters(from, range, to);
        return to;
      }
      case Kind::kSequence:
        for (const Expression& part : expression.parts) {
          HADAL_TRY(from, add(part, from));
        }
        return from;
      case Kind::kEither: {
        const uint32_t to = nfa_.add_node();
        for (const Expression& part : expression.parts) {
          const uint32_t begin = nfa_.add_node();
          nfa_.add_empty(from, begin);
          HADAL_TRY(const uint32_t end, add(part, begin));
          nfa_.add_empty(end, to);
        }
        return to;
      }
      case Kind::kRepeat:
        return add_repeated(expression, from);
      case Kind::kStart:
      case Kind::kEnd: {
        const uint32_t to = nfa_.add_node();
        nfa_.add_empty(
            from, to,
            expression.kind == Kind::kStart ? ByteNfa::When::kAtStart : ByteNfa::When::kAtEnd);
        return to;
      }
    }
    return from;
  }

 private:
  Result<uint32_t> add_repeated(const Expression& repeat, uint32_t from) {
    const Expression& part = repeat.parts[0];
    for (uint32_t i = 0; i < repeat.repeat_min; ++i) {
      HADAL_TRY(from, add(part, from));
    }
    const uint32_t to = nfa_.add_node();
    nfa_.add_empty(from, to);
    if (repeat.repeat_max == kUnbounded) {
      const uint32_t begin = nfa_.add_node();
      nfa_.add_empty(from, begin);
      HADAL_TRY(const uint32_t end, add(part, begin));
      nfa_.add_empty(end, begin);
      nfa_.add_empty(end, to);
      return to;
    }
    for (uint32_t i = repeat.repeat_min; i < repeat.repeat_max; ++i) {
      const uint32_t begin = nfa_.add_node();
      nfa_.add_empty(from, begin);
      HADAL_TRY(from, add(part, begin));
      nfa_.add_empty(from, to);
    }
    return to;
  }

  ByteNfa& nfa_;
  WorkBudget& budget_;
};

// `text` is UTF-8.
std::u32string characters_of(std::string_view text) {
  std::u32string characters;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if ((byte & 0xC0) == 0x80 && !characters.empty()) {
      characters.back() = characters.back() << 6 | (byte & 0x3F);
    } else {
      characters.push_back(byte < 0x80   ? byte
                           : byte < 0xE0 ? byte & 0x1F
                           : byte < 0xF0 ? byte & 0x0F
                                         : byte & 0x07);
    }
  }
  return characters;
}

}  // namespace

Result<Dfa> compile_pattern(std::string_view pattern, const PatternLimits& limits,
                            WorkBudget& budget) {
  if (pattern.size() > limits.bytes_max) {
    return fail("it has {} bytes, more than {}", pattern.size(), limits.bytes_max);
  }
  if (!is_utf8(pattern)) return fail("it is not UTF-8");
  HADAL_TRY(const auto expression,
            PatternParser(characters_of(pattern), limits.repeats_max).parse());
  // Found anywhere: any characters before it, any behind it.
  ByteNfa nfa;
  const uint32_t start = nfa.add_node(), begin = nfa.add_node(), final = nfa.add_node();
  nfa.add_characters(start, {0, kLastCharacter}, start);
  nfa.add_empty(start, begin);
  HADAL_TRY(const uint32_t end, PatternBuilder(nfa, budget).add(expression, begin));
  nfa.add_empty(end, final);
  nfa.add_characters(final, {0, kLastCharacter}, final);
  HADAL_TRY(const Dfa dfa, nfa.determinize(start, final, budget));
  return trimmed(dfa);
}

}  // namespace hadal
