// How values become text: Python's str and repr, json.dumps, printf-style formatting.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "text/template/jinja_interpreter.h"
#include "text/template/jinja_operators.h"

namespace hadal::jinja {

std::string float_literal(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<size_t>(end - buffer));  // -d.ddde+XX
  const size_t e = shortest.find('e');
  int exponent = std::abs(std::atoi(std::string(shortest.substr(e + 2)).c_str()));
  if (shortest[e + 1] == '-') exponent = -exponent;
  std::string digits;
  for (const char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  const std::string sign = std::signbit(value) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    std::string text = sign + digits.substr(0, 1);
    if (digits.size() > 1) text.append(".").append(digits, 1);
    return text + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  }
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  }
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

namespace {

// Text under construction from a whole value: it is trusted only if every string in it is.
class Writer {
 public:
  explicit Writer(Budget& budget) : budget_(budget) {}

  Status add(std::string_view bytes) {
    HADAL_TRY_VOID(budget_.step_for_bytes(bytes.size()));
    if (text_.size() + bytes.size() > kCheckedFrom) {
      HADAL_TRY_VOID(budget_.room_for(text_.size() + bytes.size()));
    }
    text_.append(bytes);
    return {};
  }
  void mark(const Text& source) { trusted_ = trusted_ && source.all_trusted(); }
  Text take() { return {std::move(text_), trusted_ ? Trust::trusted : Trust::untrusted}; }

 private:
  static constexpr size_t kCheckedFrom = 4096;

  Budget& budget_;
  std::string text_;
  bool trusted_ = true;
};

std::string scalar_literal(const Value& value) {
  switch (value.kind()) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return value.as_boolean() ? "True" : "False";
    case Kind::integer:
      return std::to_string(value.as_integer());
    case Kind::floating:
      return float_literal(value.as_double());
    case Kind::undefined:
      return "Undefined";
    case Kind::range: {
      const RangeObject& range = value.range();
      const int64_t stop = range.start + range.step * static_cast<int64_t>(range.count);
      if (range.step == 1) return fmt::format("range({}, {})", range.start, stop);
      return fmt::format("range({}, {}, {})", range.start, stop, range.step);
    }
    case Kind::loop:
      return "<LoopContext>";
    case Kind::macro:
      return "<Macro>";
    case Kind::iterator:
      return "<generator>";
    default:
      return "<function>";
  }
}

class LiteralWriter {
 public:
  explicit LiteralWriter(Budget& budget) : budget_(budget), out_(budget) {}

  Status write(const Value& value, size_t level) {
    // Only namespaces can contain themselves.
    if (level > budget_.limits().value_depth_max) {
      return fail("a value to print is nested too deeply");
    }
    switch (value.kind()) {
      case Kind::string:
        out_.mark(value.text());
        if (value.is_markup()) {
          return out_.add(fmt::format("Markup({})", python_literal(value.text().view())));
        }
        return out_.add(python_literal(value.text().view()));
      case Kind::list:
        return write_items(value.items(), "[", "]", level);
      case Kind::tuple:
        return write_items(value.items(), "(", value.items().size() == 1 ? ",)" : ")", level);
      case Kind::dict:
        return write_dict(value.dict(), level);
      case Kind::view:
        return write_view(value, level);
      case Kind::name_space:
        return write_namespace(value.name_space(), level);
      default:
        return out_.add(scalar_literal(value));
    }
  }
  Text take() { return out_.take(); }

 private:
  Status write_items(const std::vector<Value>& items, std::string_view open, std::string_view close,
                     size_t level) {
    HADAL_TRY_VOID(out_.add(open));
    for (size_t i = 0; i < items.size(); i++) {
      if (i > 0) HADAL_TRY_VOID(out_.add(", "));
      HADAL_TRY_VOID(write(items[i], level + 1));
    }
    return out_.add(close);
  }

  Status write_dict(const DictObject& dict, size_t level) {
    HADAL_TRY_VOID(out_.add("{"));
    for (size_t i = 0; i < dict.entries.size(); i++) {
      if (i > 0) HADAL_TRY_VOID(out_.add(", "));
      HADAL_TRY_VOID(write(dict.entries[i].first, level + 1));
      HADAL_TRY_VOID(out_.add(": "));
      HADAL_TRY_VOID(write(dict.entries[i].second, level + 1));
    }
    return out_.add("}");
  }

  Status write_view(const Value& value, size_t level) {
    const ViewKind kind = value.view().kind;
    HADAL_TRY(const std::vector<Value> items, iterate(budget_, value));
    return write_items(items,
                       kind == ViewKind::items  ? "dict_items(["
                       : kind == ViewKind::keys ? "dict_keys(["
                                                : "dict_values([",
                       "])", level);
  }

  Status write_namespace(const NamespaceObject& name_space, size_t level) {
    HADAL_TRY_VOID(out_.add("<Namespace {"));
    for (size_t i = 0; i < name_space.attributes.size(); i++) {
      if (i > 0) HADAL_TRY_VOID(out_.add(", "));
      HADAL_TRY_VOID(out_.add(python_literal(name_space.attributes[i].first) + ": "));
      HADAL_TRY_VOID(write(name_space.attributes[i].second, level + 1));
    }
    return out_.add("}>");
  }

  Budget& budget_;
  Writer out_;
};

}  // namespace

Result<Text> to_literal(Budget& budget, const Value& value) {
  LiteralWriter writer(budget);
  HADAL_TRY_VOID(writer.write(value, 0));
  return writer.take();
}

Result<Text> to_text(Budget& budget, const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is_undefined()) return Text();
  return to_literal(budget, value);
}

// --- JSON ---

namespace {

std::string json_string(std::string_view text, bool ascii_only) {
  std::string result = "\"";
  for (size_t at = 0; at < text.size();) {
    const CodePoint code_point = code_point_at(text, at);
    const uint32_t value = code_point.value;
    constexpr std::string_view escaped = "\"\\\n\r\t\f\b";
    constexpr std::string_view letters = "\"\\nrtfb";
    const size_t short_form =
        value < 0x80 ? escaped.find(static_cast<char>(value)) : std::string_view::npos;
    if (short_form != std::string_view::npos) {
      result.push_back('\\');
      result.push_back(letters[short_form]);
    } else if (value < 0x20 || (ascii_only && value > 0x7E && value < 0x10000)) {
      result += fmt::format("\\u{:04x}", value);
    } else if (ascii_only && value >= 0x10000) {
      result += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((value - 0x10000) >> 10),
                            0xDC00 + ((value - 0x10000) & 0x3FF));
    } else {
      result.append(text.substr(at, code_point.bytes));
    }
    at += code_point.bytes;
  }
  result.push_back('"');
  return result;
}

std::string json_number(const Value& value) {
  if (value.is(Kind::integer)) return std::to_string(value.as_integer());
  const double number = value.as_double();
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return float_literal(number);
}

class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style)
      : budget_(budget), style_(style), out_(budget) {}

  Status write(const Value& value, size_t level) {
    switch (value.kind()) {
      case Kind::none:
        return out_.add("null");
      case Kind::boolean:
        return out_.add(value.as_boolean() ? "true" : "false");
      case Kind::integer:
      case Kind::floating:
        return out_.add(json_number(value));
      case Kind::string:
        out_.mark(value.text());
        return out_.add(json_string(value.text().view(), style_.ascii_only));
      case Kind::list:
      case Kind::tuple:
        return write_list(value.items(), level);
      case Kind::dict:
        return write_dict(value.dict(), level);
      default:
        if (value.is_undefined()) return fail("{}", value.undefined_story());
        return fail("a {} cannot be written as JSON", type_name(value));
    }
  }
  Text take() { return out_.take(); }

 private:
  Status new_line(size_t level) {
    if (!style_.indent) return {};
    std::string line = "\n";
    for (size_t i = 0; i < level; i++) line += *style_.indent;
    return out_.add(line);
  }

  Status write_list(const std::vector<Value>& items, size_t level) {
    if (items.empty()) return out_.add("[]");
    HADAL_TRY_VOID(out_.add("["));
    for (size_t i = 0; i < items.size(); i++) {
      if (i > 0) HADAL_TRY_VOID(out_.add(style_.item_separator));
      HADAL_TRY_VOID(new_line(level + 1));
      HADAL_TRY_VOID(write(items[i], level + 1));
    }
    HADAL_TRY_VOID(new_line(level));
    return out_.add("]");
  }

  Status write_key(const Value& key) {
    switch (key.kind()) {
      case Kind::string:
        return write(key, 0);
      case Kind::none:
        return out_.add("\"null\"");
      case Kind::boolean:
        return out_.add(key.as_boolean() ? "\"true\"" : "\"false\"");
      default:
        return out_.add(fmt::format("\"{}\"", json_number(key)));
    }
  }

  Status write_dict(const DictObject& dict, size_t level) {
    if (dict.entries.empty()) return out_.add("{}");
    std::vector<Keyed> entries;
    for (const auto& [key, value] : dict.entries) entries.push_back({{key}, value});
    if (style_.sort_keys) HADAL_TRY_VOID(sort_by_keys(budget_, entries, {}));
    HADAL_TRY_VOID(out_.add("{"));
    for (size_t i = 0; i < entries.size(); i++) {
      if (i > 0) HADAL_TRY_VOID(out_.add(style_.item_separator));
      HADAL_TRY_VOID(new_line(level + 1));
      HADAL_TRY_VOID(write_key(entries[i].keys[0]));
      HADAL_TRY_VOID(out_.add(style_.key_separator));
      HADAL_TRY_VOID(write(entries[i].item, level + 1));
    }
    HADAL_TRY_VOID(new_line(level));
    return out_.add("}");
  }

  Budget& budget_;
  const JsonStyle& style_;
  Writer out_;
};

}  // namespace

Result<Text> to_json(Budget& budget, const Value& value, const JsonStyle& style) {
  JsonWriter writer(budget, style);
  HADAL_TRY_VOID(writer.write(value, 0));
  return writer.take();
}

// --- printf-style formatting ---

namespace {

struct Directive {
  std::string flags;
  std::optional<size_t> width, precision;
  char conversion = 0;
};

// One number as printf writes it.
Result<std::string> format_number(const Directive& directive, const Value& value) {
  constexpr size_t kPrecisionMax = 60;
  if (!value.is_number()) {
    if (value.is_undefined()) return fail("{}", value.undefined_story());
    return fail("%{} needs a number, not a {}", directive.conversion, type_name(value));
  }
  const bool alternative = directive.flags.find('#') != std::string::npos;
  std::string format = alternative ? "%#" : "%";
  if (directive.flags.find('+') != std::string::npos) {
    format += '+';
  } else if (directive.flags.find(' ') != std::string::npos) {
    format += ' ';
  }
  if (directive.precision) {
    if (*directive.precision > kPrecisionMax) {
      return fail("a format asks for {} digits (limit: {})", *directive.precision, kPrecisionMax);
    }
    format += fmt::format(".{}", *directive.precision);
  }
  char buffer[512];
  int written = 0;
  if (std::string_view("eEfFgG").find(directive.conversion) != std::string_view::npos) {
    format += directive.conversion;
    written = std::snprintf(buffer, sizeof(buffer), format.c_str(), value.as_double());
  } else {
    const double whole = std::trunc(value.as_double());
    if (!value.is_integral() && !(std::fabs(whole) < 0x1p62)) {
      return fail("a number is too large for %{}", directive.conversion);
    }
    const int64_t number = value.is_integral() ? value.as_integer() : static_cast<int64_t>(whole);
    const bool decimal = directive.conversion == 'd';
    if (!decimal && number < 0) return fail("%{} of a negative number", directive.conversion);
    format += decimal ? "ll" : "l";
    format += directive.conversion;
    written = decimal ? std::snprintf(buffer, sizeof(buffer), format.c_str(),
                                      static_cast<long long>(number))
                      : std::snprintf(buffer, sizeof(buffer), format.c_str(),
                                      static_cast<unsigned long>(number));
  }
  return std::string(buffer, std::min(sizeof(buffer) - 1, static_cast<size_t>(written)));
}

class PercentFormatter {
 public:
  PercentFormatter(Budget& budget, const Text& format, const Value& values)
      : budget_(budget), format_(format), values_(values) {}

  Result<Text> run() {
    const std::string_view bytes = format_.view();
    while (at_ < bytes.size()) {
      const size_t percent = std::min(bytes.find('%', at_), bytes.size());
      out_.append_slice(format_, at_, percent);
      at_ = percent;
      if (at_ < bytes.size()) HADAL_TRY_VOID(directive());
    }
    const size_t given = values_.is(Kind::tuple) ? values_.items().size() : 1;
    // Python excuses what could be asked for values by name.
    const bool by_name = values_.is(Kind::dict) || values_.is(Kind::list) ||
                         values_.is(Kind::range) || values_.is_undefined();
    if (!by_name && used_ < given) return fail("a format got too many values");
    return std::move(out_);
  }

 private:
  char peek() const { return at_ < format_.size() ? format_.bytes()[at_] : '\0'; }

  std::optional<size_t> number() {
    std::optional<size_t> value;
    while (peek() >= '0' && peek() <= '9') {
      value = std::min<size_t>(value.value_or(0) * 10 + static_cast<size_t>(peek() - '0'),
                               kWidthMax + 1);
      at_++;
    }
    return value;
  }

  Result<Value> next_value() {
    if (values_.is(Kind::tuple)) {
      if (used_ < values_.items().size()) return values_.items()[used_++];
    } else if (used_++ == 0) {
      return values_;
    }
    return fail("a format got too few values");
  }

  Status directive() {
    const size_t begin = at_++;
    std::optional<Value> named;
    if (peek() == '(') {
      const size_t close = format_.bytes().find(')', at_);
      if (close == std::string::npos || !values_.is(Kind::dict)) {
        return fail("a format names its values but got no dict");
      }
      const std::string name = format_.bytes().substr(at_ + 1, close - at_ - 1);
      const Value* found = values_.dict().find(name);
      if (found == nullptr) return fail("a format asks for '{}', which is not in the dict", name);
      named = *found;
      at_ = close + 1;
    }
    Directive directive;
    while (peek() != '\0' && std::string_view("-+ #0").find(peek()) != std::string_view::npos) {
      directive.flags += peek();
      at_++;
    }
    directive.width = number();
    if (peek() == '.') {
      at_++;
      directive.precision = number().value_or(0);
    }
    directive.conversion = peek();
    at_++;
    if (directive.conversion == '%') {
      out_.append_slice(format_, begin, begin + 1);
      return {};
    }
    if (named) return convert(directive, *named);
    HADAL_TRY(const Value value, next_value());
    return convert(directive, value);
  }

  Status convert(Directive directive, const Value& value) {
    if (directive.width.value_or(0) > kWidthMax) {
      return fail("a format is too wide (limit: {} characters)", kWidthMax);
    }
    if (directive.conversion == 'i' || directive.conversion == 'u') directive.conversion = 'd';
    Text text;
    switch (directive.conversion) {
      case 's':
      case 'r': {
        HADAL_TRY(text, directive.conversion == 's' ? to_text(budget_, value)
                                                    : to_literal(budget_, value));
        if (directive.precision) {
          text = text.slice(0, code_point_offset(text.view(), *directive.precision));
        }
        break;
      }
      case 'd':
      case 'x':
      case 'X':
      case 'o':
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': {
        HADAL_TRY(std::string number, format_number(directive, value));
        text = Text::trusted(number);
        break;
      }
      default:
        return fail("a format has an unknown or unfinished directive");
    }
    HADAL_TRY_VOID(budget_.room_for(out_.size() + text.size() + kWidthMax));
    pad(directive, text);
    return {};
  }

  void pad(const Directive& directive, const Text& text) {
    const size_t wanted = directive.width.value_or(0);
    const size_t has = count_code_points(text.view());
    const size_t missing = wanted > has ? wanted - has : 0;
    const bool left = directive.flags.find('-') != std::string::npos;
    const bool zeros = !left && directive.flags.find('0') != std::string::npos &&
                       directive.conversion != 's' && directive.conversion != 'r';
    size_t sign = 0;
    if (zeros && !text.empty() &&
        std::string_view("+- ").find(text.bytes()[0]) != std::string_view::npos) {
      sign = 1;
    }
    if (!left && !zeros) out_.append(std::string(missing, ' '), Trust::trusted);
    out_.append_slice(text, 0, sign);
    if (zeros) out_.append(std::string(missing, '0'), Trust::trusted);
    out_.append_slice(text, sign, text.size());
    if (left) out_.append(std::string(missing, ' '), Trust::trusted);
  }

  static constexpr size_t kWidthMax = 100'000;

  Budget& budget_;
  const Text& format_;
  const Value& values_;
  Text out_;
  size_t at_ = 0;
  size_t used_ = 0;
};

}  // namespace

Result<Value> percent_format(Budget& budget, const Value& format, const Value& values) {
  HADAL_TRY(Text text, PercentFormatter(budget, format.text(), values).run());
  return make_string(&budget, std::move(text), format.is_markup());
}

}  // namespace hadal::jinja
