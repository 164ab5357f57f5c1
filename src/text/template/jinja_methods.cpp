// The methods of strings and containers that a template can call: Python's names, Python's meaning.
#include <algorithm>

#include "text/template/jinja_interpreter.h"
#include "text/template/jinja_operators.h"

namespace hadal::jinja {
namespace {

Result<const Text*> string_argument(const Bound& bound, size_t parameter) {
  const Value& value = bound[parameter];
  if (value.is_undefined()) return fail("{}", value.undefined_story());
  if (!value.is_string()) return fail("a string is needed, not a {}", type_name(value));
  return &value.text();
}

Result<Value> list_of(Interpreter& interpreter, std::vector<Text> parts) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (Text& part : parts) {
    HADAL_TRY(Value item, interpreter.string(std::move(part)));
    items.push_back(std::move(item));
  }
  return make_list(&interpreter.budget(), std::move(items));
}

// --- without arguments ---

template <Text (*kMap)(const Text&)>
Result<Value> mapped(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  HADAL_TRY_VOID(Bound::bind("a string's method", arguments, {}));
  return make_string(&interpreter.budget(), kMap(self.text()), self.is_markup());
}

Text lower(const Text& text) {
  return map_case(text, CaseMapping::lower);
}
Text upper(const Text& text) {
  return map_case(text, CaseMapping::upper);
}

// Whether every character passes, and there is one.
template <bool (*kPredicate)(uint32_t)>
Result<Value> every(Interpreter&, const Value& self, const Arguments& arguments) {
  HADAL_TRY_VOID(Bound::bind("a string's method", arguments, {}));
  const std::string_view bytes = self.text().view();
  bool all = !bytes.empty();
  for (size_t at = 0; at < bytes.size() && all;) {
    const CodePoint code_point = code_point_at(bytes, at);
    all = kPredicate(code_point.value);
    at += code_point.bytes;
  }
  return Value::boolean(all);
}

bool is_alphanumeric(uint32_t c) {
  return is_letter(c) || is_numeric(c);
}

Result<Value> string_is_ascii(Interpreter&, const Value& self, const Arguments&) {
  const std::string_view bytes = self.text().view();
  return Value::boolean(std::all_of(bytes.begin(), bytes.end(),
                                    [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
}

template <Casing kWanted>
Result<Value> string_is_cased(Interpreter& interpreter, const Value& self, const Arguments&) {
  HADAL_TRY(const bool passed,
            find_test(kWanted == Casing::lower ? "lower" : "upper")->apply(interpreter, self, {}));
  return Value::boolean(passed);
}

Result<Value> string_is_title(Interpreter&, const Value& self, const Arguments&) {
  const std::string_view bytes = self.text().view();
  bool inside_word = false;
  bool any = false;
  for (size_t at = 0; at < bytes.size();) {
    const CodePoint code_point = code_point_at(bytes, at);
    const Casing casing = casing_of(code_point.value);
    if (casing != Casing::none && (casing == Casing::lower) != inside_word) {
      return Value::boolean(false);
    }
    inside_word = casing != Casing::none;
    any = any || inside_word;
    at += code_point.bytes;
  }
  return Value::boolean(any);
}

// --- cutting ---

template <Sides kSides>
Result<Value> string_strip(Interpreter& interpreter, const Value& self,
                           const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("strip", arguments, {"chars"}));
  const std::string* characters = nullptr;
  if (!bound.is_none(0)) {
    HADAL_TRY(const Text* given, string_argument(bound, 0));
    characters = &given->bytes();
    // Every character at the ends is looked for in the whole set.
    const size_t steps = characters->size() / 8 * (self.text().size() / 8);
    HADAL_TRY_VOID(interpreter.budget().step_for_items(steps));
  }
  return make_string(&interpreter.budget(), strip(self.text(), kSides, characters),
                     self.is_markup());
}

template <bool kFromRight>
Result<Value> string_split(Interpreter& interpreter, const Value& self,
                           const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("split", arguments, {"sep", "maxsplit"}));
  HADAL_TRY(const int64_t splits_max, bound.integer_or(1, -1));
  const Text& text = self.text();
  std::vector<Text> parts;
  if (bound.is_none(0)) {
    parts = kFromRight ? split_white_space_from_right(text, splits_max)
                       : split_white_space(text, splits_max);
  } else {
    HADAL_TRY(const Text* separator, string_argument(bound, 0));
    if (separator->empty()) return fail("split() needs a separator that is not empty");
    // Parts are larger than what they hold: a million empty ones must be refused before they are
    // made.
    const size_t count = count_occurrences(text.view(), separator->view(), splits_max) + 1;
    HADAL_TRY_VOID(interpreter.budget().room_for(count * (sizeof(Text) + sizeof(StringObject))));
    parts = kFromRight ? split_from_right(text, separator->view(), splits_max)
                       : split(text, separator->view(), splits_max);
  }
  return list_of(interpreter, std::move(parts));
}

Result<Value> string_splitlines(Interpreter& interpreter, const Value& self,
                                const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("splitlines", arguments, {"keepends"}));
  return list_of(interpreter, split_lines(self.text(), bound.truth_or(0, false)));
}

template <bool kFromRight>
Result<Value> string_partition(Interpreter& interpreter, const Value& self,
                               const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("partition", arguments, {"sep"}, 1));
  HADAL_TRY(const Text* separator, string_argument(bound, 0));
  if (separator->empty()) return fail("partition() needs a separator that is not empty");
  const Text& text = self.text();
  const size_t found =
      kFromRight ? text.view().rfind(separator->view()) : text.view().find(separator->view());
  Text parts[3];
  if (found == std::string_view::npos) {
    parts[kFromRight ? 2 : 0] = text;
  } else {
    parts[0] = text.slice(0, found);
    parts[1] = *separator;
    parts[2] = text.slice(found + separator->size(), text.size());
  }
  std::vector<Value> items;
  for (Text& part : parts) {
    HADAL_TRY(Value item, interpreter.string(std::move(part)));
    items.push_back(std::move(item));
  }
  return make_tuple(&interpreter.budget(), std::move(items));
}

template <bool kPrefix>
Result<Value> string_remove(Interpreter& interpreter, const Value& self,
                            const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("removeprefix", arguments, {"affix"}, 1));
  HADAL_TRY(const Text* affix, string_argument(bound, 0));
  const Text& text = self.text();
  const bool there =
      kPrefix ? text.bytes().starts_with(affix->view()) : text.bytes().ends_with(affix->view());
  if (!there) return self;
  return interpreter.string(kPrefix ? text.slice(affix->size(), text.size())
                                    : text.slice(0, text.size() - affix->size()));
}

// --- searching ---

// The part of the text between the optional start and end (in code points), as bytes.
struct Window {
  size_t begin, end;
  int64_t start;  // the code point at begin
  bool possible;  // false: start lies behind the end, where not even "" is found
};
Result<Window> window(const Text& text, const Bound& bound, size_t first_parameter) {
  const auto length = static_cast<int64_t>(count_code_points(text.view()));
  int64_t limits[2] = {0, length};
  for (size_t i = 0; i < 2; i++) {
    if (bound.is_none(first_parameter + i)) continue;
    HADAL_TRY(int64_t position, bound.integer_or(first_parameter + i, 0));
    if (position < 0) position = std::max<int64_t>(0, position < -length ? 0 : position + length);
    limits[i] = position;
  }
  const int64_t stop = std::min(limits[1], length);
  const bool possible = limits[0] <= stop;
  if (!possible) return Window{.begin = 0, .end = 0, .start = 0, .possible = false};
  return Window{.begin = code_point_offset(text.view(), static_cast<size_t>(limits[0])),
                .end = code_point_offset(text.view(), static_cast<size_t>(stop)),
                .start = limits[0],
                .possible = true};
}

template <bool kAtStart>
Result<Value> string_starts_or_ends(Interpreter& interpreter, const Value& self,
                                    const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("startswith", arguments, {"affix", "start", "end"}, 1));
  HADAL_TRY(const Window part, window(self.text(), bound, 1));
  const std::string_view text = self.text().view().substr(part.begin, part.end - part.begin);
  std::vector<Value> affixes = {bound[0]};
  if (bound[0].is(Kind::tuple)) affixes = bound[0].items();
  for (const Value& affix : affixes) {
    HADAL_TRY_VOID(interpreter.budget().step());
    if (affix.is_undefined()) return fail("{}", affix.undefined_story());
    if (!affix.is_string()) return fail("a string is needed, not a {}", type_name(affix));
    const std::string_view wanted = affix.text().view();
    if (part.possible && (kAtStart ? text.starts_with(wanted) : text.ends_with(wanted))) {
      return Value::boolean(true);
    }
  }
  return Value::boolean(false);
}

enum class Missing : uint8_t { minus_one, error };

template <bool kFromRight, Missing kMissing>
Result<Value> string_find(Interpreter&, const Value& self, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("find", arguments, {"sub", "start", "end"}, 1));
  HADAL_TRY(const Text* wanted, string_argument(bound, 0));
  HADAL_TRY(const Window part, window(self.text(), bound, 1));
  const std::string_view text = self.text().view().substr(part.begin, part.end - part.begin);
  const size_t found = !part.possible ? std::string_view::npos
                       : kFromRight   ? text.rfind(wanted->view())
                                      : text.find(wanted->view());
  if (found != std::string_view::npos) {
    const auto before = static_cast<int64_t>(count_code_points(text.substr(0, found)));
    return Value::integer(part.start + before);
  }
  if (kMissing == Missing::error) return fail("the text to find is not there");
  return Value::integer(-1);
}

Result<Value> string_count(Interpreter&, const Value& self, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("count", arguments, {"sub", "start", "end"}, 1));
  HADAL_TRY(const Text* wanted, string_argument(bound, 0));
  HADAL_TRY(const Window part, window(self.text(), bound, 1));
  if (!part.possible) return Value::integer(0);
  const std::string_view text = self.text().view().substr(part.begin, part.end - part.begin);
  return Value::integer(static_cast<int64_t>(count_occurrences(text, wanted->view(), -1)));
}

// --- building ---

Result<Value> string_replace(Interpreter& interpreter, const Value& self,
                             const Arguments& arguments) {
  return find_filter("replace")->apply(interpreter, self, arguments);
}

Result<Value> string_join(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("join", arguments, {"iterable"}, 1));
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), bound[0]));
  Text result;
  for (size_t i = 0; i < items.size(); i++) {
    if (!items[i].is_string()) {
      return fail("join() needs strings, item {} is a {}", i, type_name(items[i]));
    }
    HADAL_TRY_VOID(
        interpreter.budget().room_for(result.size() + self.text().size() + items[i].text().size()));
    HADAL_TRY_VOID(interpreter.budget().step_for_bytes(self.text().size()));
    if (i > 0) result.append(self.text());
    result.append(items[i].text());
  }
  return interpreter.string(std::move(result));
}

enum class Align : uint8_t { left, center, right };

template <Align kAlign>
Result<Value> string_justify(Interpreter& interpreter, const Value& self,
                             const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("center", arguments, {"width", "fillchar"}, 1));
  HADAL_TRY(const int64_t width, bound.integer_or(0, 0));
  Text fill = Text::trusted(" ");
  if (bound.has(1)) {
    HADAL_TRY(const Text* given, string_argument(bound, 1));
    if (count_code_points(given->view()) != 1) return fail("a fill needs exactly one character");
    fill = *given;
  }
  const auto length = static_cast<int64_t>(count_code_points(self.text().view()));
  if (width <= length) return self;
  const auto missing = static_cast<size_t>(width - length);
  HADAL_TRY_VOID(interpreter.budget().room_for(missing));
  HADAL_TRY_VOID(interpreter.budget().room_for(missing * fill.size() + self.text().size()));
  HADAL_TRY_VOID(interpreter.budget().step_for_items(missing));
  size_t before = 0;
  if (kAlign == Align::right) before = missing;
  // Python's: the odd blank goes left if the width is odd.
  if (kAlign == Align::center) before = missing / 2 + (missing & static_cast<size_t>(width) & 1);
  Text result;
  for (size_t i = 0; i < before; i++) result.append(fill);
  result.append(self.text());
  for (size_t i = before; i < missing; i++) result.append(fill);
  return interpreter.string(std::move(result));
}

Result<Value> string_zfill(Interpreter& interpreter, const Value& self,
                           const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("zfill", arguments, {"width"}, 1));
  HADAL_TRY(const int64_t width, bound.integer_or(0, 0));
  const Text& text = self.text();
  const auto length = static_cast<int64_t>(count_code_points(text.view()));
  if (width <= length) return self;
  const auto missing = static_cast<size_t>(width - length);
  HADAL_TRY_VOID(interpreter.budget().room_for(missing));
  const size_t sign = text.bytes().starts_with('+') || text.bytes().starts_with('-') ? 1 : 0;
  Text result = text.slice(0, sign);
  result.append(std::string(missing, '0'), Trust::trusted);
  result.append_slice(text, sign, text.size());
  return interpreter.string(std::move(result));
}

// str.format with "{}", "{0}" and "{name}"; no attributes, conversions or format specifications.
Result<Value> string_format(Interpreter& interpreter, const Value& self,
                            const Arguments& arguments) {
  const Text& format = self.text();
  const std::string_view bytes = format.view();
  Text result;
  size_t automatic = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
    result.append_slice(format, at, brace);
    at = brace + 1;
    if (brace == bytes.size()) break;
    if (at < bytes.size() && bytes[at] == bytes[brace]) {
      result.append_slice(format, brace, at);
      at++;
      continue;
    }
    const size_t close = bytes.find('}', at);
    if (bytes[brace] == '}' || close == bytes.npos) return fail("format() has a single brace");
    const std::string_view field = bytes.substr(at, close - at);
    at = close + 1;
    const Value* value = nullptr;
    const bool number = field.find_first_not_of("0123456789") == field.npos && field.size() < 4;
    if (number) {
      const size_t index = field.empty() ? automatic++ : std::stoul(std::string(field));
      if (index < arguments.positional.size()) value = &arguments.positional[index];
    }
    for (const auto& [name, given] : arguments.named) {
      if (name == field) value = &given;
    }
    if (value == nullptr) {
      return fail("format() has no value for '{{{}}}', or it asks for more than a plain value",
                  field.substr(0, 40));
    }
    HADAL_TRY(const Text text, to_text(interpreter.budget(), *value));
    HADAL_TRY_VOID(interpreter.budget().room_for(result.size() + text.size()));
    result.append(text);
  }
  return interpreter.string(std::move(result));
}

constexpr MethodEntry kStringMethods[] = {
    // sorted by name
    {"capitalize", mapped<capitalize>},
    {"casefold", mapped<lower>},
    {"center", string_justify<Align::center>},
    {"count", string_count},
    {"endswith", string_starts_or_ends<false>},
    {"find", string_find<false, Missing::minus_one>},
    {"format", string_format},
    {"index", string_find<false, Missing::error>},
    {"isalnum", every<is_alphanumeric>},
    {"isalpha", every<is_letter>},
    {"isascii", string_is_ascii},
    {"isdecimal", every<is_decimal>},
    {"isdigit", every<is_digit>},
    {"islower", string_is_cased<Casing::lower>},
    {"isnumeric", every<is_numeric>},
    {"isspace", every<is_space>},
    {"istitle", string_is_title},
    {"isupper", string_is_cased<Casing::upper>},
    {"join", string_join},
    {"ljust", string_justify<Align::left>},
    {"lower", mapped<lower>},
    {"lstrip", string_strip<Sides::left>},
    {"partition", string_partition<false>},
    {"removeprefix", string_remove<true>},
    {"removesuffix", string_remove<false>},
    {"replace", string_replace},
    {"rfind", string_find<true, Missing::minus_one>},
    {"rindex", string_find<true, Missing::error>},
    {"rjust", string_justify<Align::right>},
    {"rpartition", string_partition<true>},
    {"rsplit", string_split<true>},
    {"rstrip", string_strip<Sides::right>},
    {"split", string_split<false>},
    {"splitlines", string_splitlines},
    {"startswith", string_starts_or_ends<true>},
    {"strip", string_strip<Sides::both>},
    {"swapcase", mapped<swap_case>},
    {"title", mapped<title_case>},
    {"upper", mapped<upper>},
    {"zfill", string_zfill},
};

}  // namespace

std::span<const MethodEntry> string_methods() {
  return kStringMethods;
}

}  // namespace hadal::jinja
