// Filters on single values: text, numbers, JSON.
#include <charconv>
#include <cmath>

#include "base/json.h"
#include "text/template/jinja_interpreter.h"
#include "text/template/jinja_operators.h"

namespace hadal::jinja {
namespace {

// --- text ---

template <Text (*kMap)(const Text&)>
Result<Value> mapped(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  HADAL_TRY_VOID(Bound::bind("a filter", arguments, {}));
  HADAL_TRY(const Text text, to_text(interpreter.budget(), value));
  return make_string(&interpreter.budget(), kMap(text), value.is_markup());
}

Text lower(const Text& text) {
  return map_case(text, CaseMapping::lower);
}
Text upper(const Text& text) {
  return map_case(text, CaseMapping::upper);
}

// Jinja's own: a word begins behind white space and - ( { [ <.
Text title(const Text& text) {
  Text result;
  const auto begins = [](uint32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  size_t word = 0;
  for (size_t at = 0; at <= text.size();) {
    const bool end = at == text.size();
    const CodePoint code_point = end ? CodePoint{' ', 1} : code_point_at(text.view(), at);
    if (end || begins(code_point.value)) {
      if (word < at) {
        const size_t second = word + code_point_at(text.view(), word).bytes;
        result.append(upper(text.slice(word, second)));
        result.append(lower(text.slice(second, at)));
      }
      if (!end) result.append_slice(text, at, at + code_point.bytes);
      word = at + code_point.bytes;
    }
    at += code_point.bytes;
  }
  return result;
}

Result<Value> filter_string(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is_string()) return value;
  HADAL_TRY(Text text, to_text(interpreter.budget(), value));
  return interpreter.string(std::move(text));
}

Result<Value> filter_trim(Interpreter& interpreter, const Value& value,
                          const Arguments& arguments) {
  HADAL_TRY(const Value string, filter_string(interpreter, value, {}));
  return find_method(Kind::string, "strip")->call(interpreter, string, arguments);
}

Result<Value> filter_replace(Interpreter& interpreter, const Value& value,
                             const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("replace", arguments, {"old", "new", "count"}, 2));
  HADAL_TRY(const int64_t limit, bound.is_none(2) ? Result<int64_t>(-1) : bound.integer_or(2, -1));
  HADAL_TRY(const Text text, to_text(interpreter.budget(), value));
  HADAL_TRY(const Text old_text, to_text(interpreter.budget(), bound[0]));
  HADAL_TRY(const Text new_text, to_text(interpreter.budget(), bound[1]));
  const size_t count = count_occurrences(text.view(), old_text.view(), limit);
  size_t added = 0;
  if (__builtin_mul_overflow(count, new_text.memory_bytes() + sizeof(uint32_t), &added)) {
    added = SIZE_MAX / 2;
  }
  HADAL_TRY_VOID(interpreter.budget().room_for(added + text.size()));
  HADAL_TRY_VOID(interpreter.budget().step_for_items(count));
  return interpreter.string(replace(text, old_text.view(), new_text, limit));
}

Result<Value> filter_indent(Interpreter& interpreter, const Value& value,
                            const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("indent", arguments, {"width", "first", "blank"}));
  Text indentation;
  if (bound.has(0) && bound[0].is_string()) {
    indentation = bound[0].text();
  } else {
    HADAL_TRY(const int64_t width, bound.integer_or(0, 4));
    HADAL_TRY_VOID(interpreter.budget().room_for(static_cast<size_t>(std::max<int64_t>(0, width))));
    indentation.append(std::string(static_cast<size_t>(std::max<int64_t>(0, width)), ' '),
                       Trust::trusted);
  }
  if (!value.is_string()) {
    if (value.is_undefined()) return fail("{}", value.undefined_story());
    return fail("a string is needed, not a {}", type_name(value));
  }
  Text source = value.text();
  source.append("\n", Trust::trusted);  // as jinja2 does, so that a last empty line counts
  const std::vector<Text> lines = split_lines(source, false);
  const size_t bytes = lines.size() * (indentation.size() + sizeof(Text)) + source.size();
  HADAL_TRY_VOID(interpreter.budget().room_for(bytes));
  HADAL_TRY_VOID(interpreter.budget().step_for_bytes(bytes));
  const bool blank = bound.truth_or(2, false);
  Text result;
  if (bound.truth_or(1, false)) result.append(indentation);
  for (size_t i = 0; i < lines.size(); i++) {
    if (i > 0) {
      result.append("\n", Trust::trusted);
      if (blank || !lines[i].empty()) result.append(indentation);
    }
    result.append(lines[i]);
  }
  return interpreter.string(std::move(result));
}

Result<Value> filter_center(Interpreter& interpreter, const Value& value,
                            const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("center", arguments, {"width"}));
  HADAL_TRY(const int64_t width, bound.integer_or(0, 80));
  HADAL_TRY(Text text, to_text(interpreter.budget(), value));
  HADAL_TRY(const Value string, interpreter.string(std::move(text)));
  const Arguments given = {.positional = {Value::integer(width)}, .named = {}};
  return find_method(Kind::string, "center")->call(interpreter, string, given);
}

Result<Value> filter_truncate(Interpreter& interpreter, const Value& value,
                              const Arguments& arguments) {
  HADAL_TRY(const Bound bound,
            Bound::bind("truncate", arguments, {"length", "killwords", "end", "leeway"}));
  HADAL_TRY(const int64_t wanted, bound.integer_or(0, 255));
  HADAL_TRY(const int64_t leeway, bound.is_none(3) ? Result<int64_t>(5) : bound.integer_or(3, 5));
  Text end = Text::trusted("...");
  if (bound.has(2)) {
    HADAL_TRY(end, to_text(interpreter.budget(), bound[2]));
  }
  const auto end_length = static_cast<int64_t>(count_code_points(end.view()));
  if (wanted < end_length || leeway < 0) return fail("truncate() to {} characters", wanted);
  HADAL_TRY(const size_t count, length(value));
  if (static_cast<int64_t>(count) - leeway <= wanted) return value;
  if (!value.is_string()) return fail("a string is needed, not a {}", type_name(value));
  const Text& text = value.text();
  Text kept =
      text.slice(0, code_point_offset(text.view(), static_cast<size_t>(wanted - end_length)));
  if (!bound.truth_or(1, false)) kept = split_from_right(kept, " ", 1)[0];
  kept.append(end);
  return interpreter.string(std::move(kept));
}

Result<Value> filter_wordcount(Interpreter& interpreter, const Value& value, const Arguments&) {
  HADAL_TRY(const Text text, to_text(interpreter.budget(), value));
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint code_point = code_point_at(text.view(), at);
    const bool word = is_word(code_point.value);
    if (word && !inside) words++;
    inside = word;
    at += code_point.bytes;
  }
  return Value::integer(words);
}

Result<Value> filter_escape(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is_markup()) return value;
  HADAL_TRY(const Text text, to_text(interpreter.budget(), value));
  HADAL_TRY_VOID(interpreter.budget().room_for(text.size() * 6));
  return make_string(&interpreter.budget(), escape_html(text), true);
}

Result<Value> filter_safe(Interpreter& interpreter, const Value& value, const Arguments&) {
  HADAL_TRY(Text text, to_text(interpreter.budget(), value));
  return make_string(&interpreter.budget(), std::move(text), true);
}

Result<Value> filter_format(Interpreter& interpreter, const Value& value,
                            const Arguments& arguments) {
  HADAL_TRY(Text text, to_text(interpreter.budget(), value));
  HADAL_TRY(const Value format, interpreter.string(std::move(text)));
  if (arguments.named.empty()) {
    HADAL_TRY(const Value values, make_tuple(&interpreter.budget(), arguments.positional));
    return percent_format(interpreter.budget(), format, values);
  }
  if (!arguments.positional.empty()) return fail("format takes values with or without names");
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, given] : arguments.named) {
    HADAL_TRY(Value key, interpreter.string(Text::trusted(name)));
    entries.emplace_back(std::move(key), given);
  }
  HADAL_TRY(const Value values, make_dict(&interpreter.budget(), std::move(entries)));
  return percent_format(interpreter.budget(), format, values);
}

// --- numbers ---

// A number from text as Python's int() and float() read it; none: it is not one.
std::optional<std::string> plain_number(const Text& text) {
  const std::string stripped = strip(text, Sides::both, nullptr).bytes();
  std::string result;
  for (size_t i = 0; i < stripped.size(); i++) {
    if (stripped[i] != '_') {
      result.push_back(stripped[i]);
      continue;
    }
    const auto digit = [&](size_t at) {
      return at < stripped.size() && std::isxdigit(static_cast<unsigned char>(stripped[at])) != 0;
    };
    if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
  }
  if (result.starts_with('+')) {
    result.erase(0, 1);
    if (result.starts_with('-')) return std::nullopt;
  }
  return result;
}

std::optional<int64_t> parse_integer(const Text& text, int64_t base) {
  std::optional<std::string> number = plain_number(text);
  if (!number || base < 2 || base > 36) return std::nullopt;
  const size_t sign = number->starts_with('-') ? 1 : 0;
  const char letter = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
  if (letter != '\0' && number->size() > sign + 1 && (*number)[sign] == '0' &&
      ((*number)[sign + 1] | 0x20) == letter) {
    number->erase(sign, 2);
    if (number->substr(sign).starts_with('-')) return std::nullopt;
  }
  int64_t value = 0;
  const char* end = number->data() + number->size();
  const auto [stop, error] = std::from_chars(number->data(), end, value, static_cast<int>(base));
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::optional<double> parse_float(const Text& text) {
  const std::optional<std::string> number = plain_number(text);
  if (!number || number->empty() || number->find('(') != std::string::npos) return std::nullopt;
  double value = 0;
  const char* end = number->data() + number->size();
  const auto [stop, error] = std::from_chars(number->data(), end, value);
  if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
  return value;
}

std::optional<Value> whole(double value) {
  if (!(std::fabs(value) < 0x1p63)) return std::nullopt;
  return Value::integer(static_cast<int64_t>(value));
}

Result<Value> filter_int(Interpreter&, const Value& value, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("int", arguments, {"default", "base"}));
  HADAL_TRY(const int64_t base, bound.integer_or(1, 10));
  if (value.is_undefined()) return fail("{}", value.undefined_story());
  std::optional<Value> result;
  if (value.is_integral()) result = Value::integer(value.as_integer());
  if (value.is(Kind::floating)) result = whole(value.as_double());
  if (value.is_string()) {
    if (const auto integer = parse_integer(value.text(), base)) {
      result = Value::integer(*integer);
    } else if (const auto number = parse_float(value.text())) {
      result = whole(*number);
    }
  }
  if (result) return *result;
  return bound.has(0) ? bound[0] : Value::integer(0);
}

Result<Value> filter_float(Interpreter&, const Value& value, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("float", arguments, {"default"}));
  if (value.is_undefined()) return fail("{}", value.undefined_story());
  if (value.is_number()) return Value::floating(value.as_double());
  if (value.is_string()) {
    if (const auto number = parse_float(value.text())) return Value::floating(*number);
  }
  return bound.has(0) ? bound[0] : Value::floating(0);
}

Result<Value> filter_abs(Interpreter&, const Value& value, const Arguments&) {
  if (value.is(Kind::floating)) return Value::floating(std::fabs(value.as_double()));
  if (value.is_integral() && value.as_integer() >= 0) return Value::integer(value.as_integer());
  return negate(value);
}

Result<Value> filter_round(Interpreter&, const Value& value, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("round", arguments, {"precision", "method"}));
  HADAL_TRY(const int64_t precision, bound.integer_or(0, 0));
  std::string method = "common";
  if (bound.has(1) && bound[1].is_string()) method = bound[1].text().bytes();
  if (method != "common" && method != "ceil" && method != "floor") {
    return fail("round() knows the methods common, ceil and floor, not '{}'", method.substr(0, 40));
  }
  if (value.is_undefined()) return fail("{}", value.undefined_story());
  if (!value.is_number()) return fail("a {} cannot be rounded", type_name(value));
  if (std::llabs(precision) > 300) return fail("round() to {} digits", precision);
  if (method != "common") {
    const double scale = std::pow(10.0, static_cast<double>(precision));
    const double scaled = value.as_double() * scale;
    return Value::floating((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (value.is_integral()) {
    if (precision >= 0) return Value::integer(value.as_integer());
    if (precision < -18) return Value::integer(0);
    int64_t unit = 1;
    for (int64_t i = 0; i < -precision; i++) unit *= 10;
    const int64_t number = value.as_integer();
    int64_t down = number - ((number % unit) + unit) % unit;
    const int64_t rest = number - down;
    const bool odd = (down / unit) % 2 != 0;
    if (rest > unit / 2 || (rest * 2 == unit && odd)) down += unit;
    return Value::integer(down);
  }
  const double number = value.as_double();
  if (!std::isfinite(number)) return value;
  if (precision >= 0) {  // printf rounds the exact binary value correctly, half to even
    const std::string text = fmt::format("{:.{}f}", number, precision);
    double rounded = number;
    std::from_chars(text.data(), text.data() + text.size(), rounded);
    return Value::floating(rounded);
  }
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return Value::floating(std::nearbyint(number / unit) * unit);
}

// --- JSON ---

Result<Value> filter_tojson(Interpreter& interpreter, const Value& value,
                            const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("tojson", arguments,
                                           {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ascii_only = bound.truth_or(0, false);
  style.sort_keys = bound.truth_or(3, false);
  constexpr int64_t kIndentMax = 1000;
  if (!bound.is_none(1)) {
    style.item_separator.resize(1);  // no blank after it when there are lines
    if (bound[1].is_string()) {
      style.indent = bound[1].text().bytes();
    } else {
      HADAL_TRY(const int64_t width, bound.integer_or(1, 0));
      if (width > kIndentMax) return fail("tojson indents by {} (limit: {})", width, kIndentMax);
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(0, width)), ' ');
    }
    if (style.indent->size() > kIndentMax) return fail("tojson indents by too long a string");
  }
  if (!bound.is_none(2)) {
    const bool pair = bound[2].is_sequence() && bound[2].items().size() == 2 &&
                      bound[2].items()[0].is_string() && bound[2].items()[1].is_string();
    if (!pair) return fail("tojson's separators are not a pair of strings");
    style.item_separator = bound[2].items()[0].text().bytes();
    style.key_separator = bound[2].items()[1].text().bytes();
  }
  HADAL_TRY(Text text, to_json(interpreter.budget(), value, style));
  return interpreter.string(std::move(text));
}

Result<Value> filter_from_json(Interpreter& interpreter, const Value& value,
                               const Arguments& arguments) {
  HADAL_TRY_VOID(Bound::bind("from_json", arguments, {}));
  if (!value.is_string()) return fail("from_json of a {}", type_name(value));
  // Of the parser's own tree, at worst: every '[' is a list on the heap with one element.
  constexpr size_t kParsedBytesPerByte = 80;
  const std::string& text = value.text().bytes();
  HADAL_TRY_VOID(interpreter.budget().room_for(text.size() * kParsedBytesPerByte));
  const auto parsed = nlohmann::ordered_json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return fail("from_json of text that is not JSON");
  return value_from_json(&interpreter.budget(), parsed, Roles::untrusted,
                         interpreter.budget().limits().value_depth_max);
}

Result<Value> filter_default(Interpreter&, const Value& value, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("default", arguments, {"default_value", "boolean"}));
  if (!value.is_undefined() && !(bound.truth_or(1, false) && !truth(value))) return value;
  return bound.has(0) ? Result<Value>(bound[0]) : make_string(nullptr, Text());
}

Result<Value> filter_attr(Interpreter& interpreter, const Value& value,
                          const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("attr", arguments, {"name"}, 1));
  if (!bound[0].is_string()) return fail("attr() needs a name");
  const std::string_view name = bound[0].text().view();
  const bool only_items = value.is(Kind::dict) && find_method(Kind::dict, name) == nullptr;
  if (value.is_undefined()) return fail("{}", value.undefined_story());
  if (only_items) {
    return make_undefined(fmt::format("'{}' has no attribute '{}'", type_name(value), name));
  }
  return interpreter.attribute(value, name);
}

constexpr FilterEntry kTextFilters[] = {
    // sorted by name
    {"abs", filter_abs},
    {"attr", filter_attr},
    {"capitalize", mapped<capitalize>},
    {"center", filter_center},
    {"d", filter_default},
    {"default", filter_default},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"float", filter_float},
    {"format", filter_format},
    {"from_json", filter_from_json},
    {"indent", filter_indent},
    {"int", filter_int},
    {"lower", mapped<lower>},
    {"replace", filter_replace},
    {"round", filter_round},
    {"safe", filter_safe},
    {"string", filter_string},
    {"title", mapped<title>},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"upper", mapped<upper>},
    {"wordcount", filter_wordcount},
};

}  // namespace

std::span<const FilterEntry> text_filters() {
  return kTextFilters;
}

}  // namespace hadal::jinja
