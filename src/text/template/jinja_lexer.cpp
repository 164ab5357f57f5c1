#include "text/template/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "text/template/jinja_text.h"

namespace hadal::jinja {
namespace {

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

// "\r\n" and "\r" become "\n"; one newline at the very end is not part of the template.
std::string normalize_newlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t at = 0; at < source.size(); at++) {
    if (source[at] == '\r') {
      text.push_back('\n');
      if (at + 1 < source.size() && source[at + 1] == '\n') at++;
    } else {
      text.push_back(source[at]);
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : storage_(normalize_newlines(source)) {
    source_ = storage_;
  }

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) HADAL_TRY_VOID(text_and_tag());
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  // The text before the next tag, and the tag itself.
  Status text_and_tag() {
    const size_t tag = next_tag(at_);
    std::string_view text = source_.substr(at_, tag - at_);
    if (tag == source_.size()) {
      add(TokenKind::text, text);
      move_to(tag);
      return {};
    }
    const char kind = source_[tag + 1];
    char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    text = strip_before_tag(text, sign, kind == '{');
    if (!text.empty()) add(TokenKind::text, text);
    move_to(tag);
    if (kind == '%') {
      if (const auto body = raw_body(tag)) return raw(*body);
    }
    move_to(tag + (sign == '\0' ? 2 : 3));
    if (kind == '#') return comment();
    if (kind == '{') {
      add(TokenKind::output_begin, "{{");
      return inside_tag(TokenKind::output_end);
    }
    add(TokenKind::block_begin, "{%");
    return inside_tag(TokenKind::block_end);
  }

  size_t next_tag(size_t from) const {
    for (size_t at = source_.find('{', from); at != source_.npos; at = source_.find('{', at + 1)) {
      if (at + 1 == source_.size()) break;
      const char kind = source_[at + 1];
      if (kind == '{' || kind == '%' || kind == '#') return at;
    }
    return source_.size();
  }

  // "-" strips all white space; otherwise a block or comment alone on its line loses its
  // indentation (lstrip_blocks).
  std::string_view strip_before_tag(std::string_view text, char sign, bool output) const {
    if (sign == '-') {
      size_t end = text.size();
      while (end > 0) {
        const size_t before = code_point_before(text, end);
        if (!is_space(code_point_at(text, before).value)) break;
        end = before;
      }
      return text.substr(0, end);
    }
    if (sign == '+' || output) return text;
    const size_t newline = text.rfind('\n');
    if (newline == text.npos && !line_starting_) return text;
    const size_t line = newline == text.npos ? 0 : newline + 1;
    for (size_t at = line; at < text.size(); at += code_point_at(text, at).bytes) {
      if (!is_space(code_point_at(text, at).value)) return text;
    }
    return text.substr(0, line);
  }

  // Where the body of `{% raw %}` at `tag` begins, if it is one.
  std::optional<size_t> raw_body(size_t tag) const {
    size_t at = tag + 2;
    if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) at++;
    at = skip_space(at);
    if (!source_.substr(at).starts_with("raw")) return std::nullopt;
    at = skip_space(at + 3);
    if (source_.substr(at).starts_with("-%}")) return skip_space(at + 3);
    if (source_.substr(at).starts_with("%}")) return at + 2;
    return std::nullopt;
  }

  Status raw(size_t body) {
    line_starting_ = source_[body - 1] == '\n';
    move_to(body);
    for (size_t tag = source_.find("{%", body); tag != source_.npos;
         tag = source_.find("{%", tag + 1)) {
      size_t at = tag + 2;
      char sign = at < source_.size() ? source_[at] : '\0';
      if (sign == '-' || sign == '+') {
        at++;
      } else {
        sign = '\0';
      }
      at = skip_space(at);
      if (!source_.substr(at).starts_with("endraw")) continue;
      const auto end = block_end_at(skip_space(at + 6));
      if (!end) continue;
      add(TokenKind::text, strip_before_tag(source_.substr(body, tag - body), sign, false));
      leave_tag(*end);
      return {};
    }
    return fail("line {}: {{% raw %}} is never closed", line_);
  }

  Status comment() {
    const size_t close = source_.find("#}", at_);
    if (close == source_.npos) return fail("line {}: a comment is never closed", line_);
    const char sign = close > at_ ? source_[close - 1] : '\0';
    size_t end = close + 2;
    if (sign == '-') {
      end = skip_space(end);
    } else if (sign != '+' && end < source_.size() && source_[end] == '\n') {
      end++;
    }
    leave_tag(end);
    return {};
  }

  // Behind the end of a block tag ("%}", with its sign and what trim_blocks takes), if it stands at
  // `at`.
  std::optional<size_t> block_end_at(size_t at) const {
    const std::string_view rest = source_.substr(std::min(at, source_.size()));
    if (rest.starts_with("+%}")) return at + 3;
    if (rest.starts_with("-%}")) return skip_space(at + 3);
    if (!rest.starts_with("%}")) return std::nullopt;
    return at + (rest.starts_with("%}\n") ? 3 : 2);
  }

  std::optional<size_t> output_end_at(size_t at) const {
    const std::string_view rest = source_.substr(at);
    if (rest.starts_with("-}}")) return skip_space(at + 3);
    if (rest.starts_with("}}")) return at + 2;
    return std::nullopt;
  }

  Status inside_tag(TokenKind end_kind) {
    std::string brackets;  // the closing ones still wanted
    while (true) {
      const size_t space_end = skip_space(at_);
      if (brackets.empty()) {
        const auto end =
            end_kind == TokenKind::block_end ? block_end_at(space_end) : output_end_at(space_end);
        if (end) {
          move_to(space_end);
          add(end_kind, "");
          leave_tag(*end);
          return {};
        }
      }
      move_to(space_end);
      if (at_ == source_.size()) return fail("line {}: a tag is never closed", line_);
      HADAL_TRY_VOID(token(brackets));
    }
  }

  Status token(std::string& brackets) {
    const char c = source_[at_];
    if (is_ascii_digit(c)) return number();
    if (c == '"' || c == '\'') return string(c);
    size_t end = at_;
    while (end < source_.size() && is_word(code_point_at(source_, end).value)) {
      end += code_point_at(source_, end).bytes;
    }
    if (end > at_) {
      if (is_numeric(code_point_at(source_, at_).value)) {
        return fail("line {}: a name cannot begin with a digit", line_);
      }
      add(TokenKind::name, source_.substr(at_, end - at_));
      move_to(end);
      return {};
    }
    return symbol(brackets);
  }

  Status symbol(std::string& brackets) {
    constexpr std::array<std::string_view, 6> pairs = {"//", "**", "==", "!=", ">=", "<="};
    constexpr std::string_view singles = "+-/*%~[](){}><=.:|,;";
    std::string_view symbol = source_.substr(at_, 2);
    if (std::find(pairs.begin(), pairs.end(), symbol) == pairs.end()) symbol = symbol.substr(0, 1);
    if (symbol.size() == 1 && singles.find(symbol) == singles.npos) {
      const size_t bytes = code_point_at(source_, at_).bytes;
      return fail("line {}: unexpected character '{}'", line_, source_.substr(at_, bytes));
    }
    if (symbol == "(") brackets.push_back(')');
    if (symbol == "[") brackets.push_back(']');
    if (symbol == "{") brackets.push_back('}');
    if (symbol == ")" || symbol == "]" || symbol == "}") {
      if (brackets.empty() || brackets.back() != symbol[0]) {
        return fail("line {}: unexpected '{}'", line_, symbol);
      }
      brackets.pop_back();
    }
    add(TokenKind::symbol, symbol);
    move_to(at_ + symbol.size());
    return {};
  }

  // Digits with single underscores between them; returns the position after them, `at` if there is
  // none.
  size_t digits_end(size_t at, std::string_view digits) const {
    size_t end = at;
    for (size_t i = at; i < source_.size(); i++) {
      const char lower = source_[i] >= 'A' && source_[i] <= 'F'
                             ? static_cast<char>(source_[i] | 0x20)
                             : source_[i];
      if (digits.find(lower) != digits.npos) {
        end = i + 1;
      } else if (source_[i] != '_' || i != end || i == at) {
        break;
      }
    }
    return end;
  }

  // Behind the fraction and exponent of a number whose whole part ends at `at`; `at` if it is an
  // integer.
  size_t fraction_end(size_t at) const {
    constexpr std::string_view decimal = "0123456789";
    size_t end = at;
    if (end < source_.size() && source_[end] == '.') {
      const size_t after = digits_end(end + 1, decimal);
      if (after == end + 1) return at;
      end = after;
    }
    if (end < source_.size() && (source_[end] | 0x20) == 'e') {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) {
        exponent++;
      }
      const size_t after = digits_end(exponent, decimal);
      if (after > exponent) end = after;
    }
    return end;
  }

  Status number() {
    constexpr std::string_view decimal = "0123456789";
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    const size_t whole_end = digits_end(at_, decimal);
    const size_t float_end = after_dot ? whole_end : fraction_end(whole_end);
    if (float_end > whole_end) {
      const std::string digits = without_underscores(source_.substr(at_, float_end - at_));
      add(TokenKind::floating, "");
      double& value = tokens_.back().floating;
      const auto error = std::from_chars(digits.data(), digits.data() + digits.size(), value).ec;
      if (error == std::errc::result_out_of_range) {
        const bool tiny = digits.find("e-") != digits.npos || digits.find("E-") != digits.npos;
        value = tiny ? 0 : std::numeric_limits<double>::infinity();
      }
      move_to(float_end);
      return {};
    }
    int base = 10;
    size_t begin = at_;
    size_t end = whole_end;
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      const char letter = static_cast<char>(source_[at_ + 1] | 0x20);
      base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
      if (base != 10) {
        begin = at_ + 2;
        end = digits_end(begin, base == 16 ? "0123456789abcdef" : base == 8 ? "01234567" : "01");
      }
    }
    const std::string digits = without_underscores(source_.substr(begin, end - begin));
    if (base == 10 && digits.size() > 1 && digits[0] == '0' &&
        digits.find_first_not_of('0') != digits.npos) {
      return fail("line {}: a number cannot begin with 0", line_);
    }
    add(TokenKind::integer, "");
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), tokens_.back().integer, base);
    if (error != std::errc() || stop != digits.data() + digits.size()) {
      return fail("line {}: '{}' is no number of 64 bits", line_,
                  source_.substr(at_, std::min<size_t>(end - at_, 40)));
    }
    move_to(end);
    return {};
  }

  static std::string without_underscores(std::string_view digits) {
    std::string result(digits);
    std::erase(result, '_');
    return result;
  }

  Status string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return fail("line {}: a string is never closed", line_);
    auto text = unescape(source_.substr(at_ + 1, end - at_ - 1));
    if (!text) return fail("line {}: {}", line_, text.error().message);
    add(TokenKind::string, *text);
    move_to(end + 1);
    return {};
  }

  // Python's escapes. An unknown one keeps its backslash.
  static Result<std::string> unescape(std::string_view source) {
    constexpr std::string_view letters = "abfnrtv\\'\"";
    constexpr std::string_view meanings = "\a\b\f\n\r\t\v\\'\"";
    std::string text;
    for (size_t at = 0; at < source.size();) {
      if (source[at] != '\\') {
        text.push_back(source[at++]);
        continue;
      }
      const char letter = source[at + 1];  // the lexer has seen to it that there is one
      at += 2;
      if (const size_t found = letters.find(letter); found != letters.npos) {
        text.push_back(meanings[found]);
      } else if (letter == '\n') {
        continue;
      } else if (letter >= '0' && letter <= '7') {
        uint32_t value = 0;
        at--;
        for (int i = 0; i < 3 && at < source.size() && source[at] >= '0' && source[at] <= '7';
             i++) {
          value = value * 8 + static_cast<uint32_t>(source[at++] - '0');
        }
        append_utf8(text, value);
      } else if (letter == 'x' || letter == 'u' || letter == 'U') {
        const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
        HADAL_TRY(const uint32_t value, hexadecimal(source, at, digits));
        append_utf8(text, value);
      } else if (letter == 'N') {
        return fail("characters by name (\\N) are not supported");
      } else {
        text.push_back('\\');
        text.push_back(letter);
      }
    }
    return text;
  }

  static Result<uint32_t> hexadecimal(std::string_view source, size_t& at, size_t digits) {
    const std::string_view text = source.substr(std::min(at, source.size()), digits);
    uint32_t value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (text.size() < digits || error != std::errc() || stop != text.data() + digits ||
        value > 0x10FFFF) {
      return fail("a string has an unfinished or impossible escape");
    }
    at += digits;
    return value;
  }

  size_t skip_space(size_t at) const {
    while (at < source_.size()) {
      const CodePoint code_point = code_point_at(source_, at);
      if (!is_space(code_point.value)) break;
      at += code_point.bytes;
    }
    return at;
  }

  void add(TokenKind kind, std::string_view text) {
    tokens_.push_back({.kind = kind, .line = line_, .text = std::string(text)});
  }

  void leave_tag(size_t end) {
    line_starting_ = source_[end - 1] == '\n';
    move_to(end);
  }

  void move_to(size_t position) {
    line_ +=
        static_cast<uint32_t>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(position), '\n'));
    at_ = position;
  }

  std::string storage_;
  std::string_view source_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace hadal::jinja
