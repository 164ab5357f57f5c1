// The global functions, and finding built-in names.
#include <algorithm>
#include <array>

#include "text/template/jinja_interpreter.h"

namespace hadal::jinja {
namespace {

constexpr size_t kRangeMax = 100'000;  // as in jinja2's sandbox

Result<Value> function_range(Interpreter& interpreter, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("range", arguments, {"start", "stop", "step"}, 1));
  HADAL_TRY(int64_t start, bound.integer_or(0, 0));
  HADAL_TRY(int64_t stop, bound.integer_or(1, 0));
  HADAL_TRY(const int64_t step, bound.integer_or(2, 1));
  if (!bound.has(1)) stop = std::exchange(start, 0);
  if (step == 0) return fail("range() needs a step that is not zero");
  // Unsigned, so that no distance overflows.
  const bool empty = step > 0 ? start >= stop : start <= stop;
  const uint64_t distance = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                     : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : ~static_cast<uint64_t>(step) + 1;
  const uint64_t count = empty ? 0 : (distance - 1) / stride + 1;
  if (count > kRangeMax) return fail("range() of {} numbers (limit: {})", count, kRangeMax);
  auto range = std::make_shared<RangeObject>();
  HADAL_TRY_VOID(account(*range, &interpreter.budget(), sizeof(RangeObject), 0));
  range->start = start;
  range->step = step;
  range->count = static_cast<size_t>(count);
  return Value(Kind::range, std::move(range));
}

// The entries that dict() and namespace() are made of: those of a dict or of a list of pairs, and
// the named arguments.
Result<std::vector<std::pair<Value, Value>>> entries_of(Interpreter& interpreter,
                                                        std::string_view callee,
                                                        const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) return fail("'{}' takes one dict or list", callee);
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::dict)) {
      entries = source.dict().entries;
    } else {
      HADAL_TRY(const std::vector<Value> pairs, iterate(interpreter.budget(), source));
      for (const Value& pair : pairs) {
        if (!is_iterable(pair)) return fail("'{}' of a list that is not made of pairs", callee);
        HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), pair));
        if (items.size() != 2) return fail("'{}' of a list that is not made of pairs", callee);
        entries.emplace_back(items[0], items[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) {
    HADAL_TRY(Value key, interpreter.string(Text::trusted(name)));
    entries.emplace_back(std::move(key), value);
  }
  return entries;
}

Result<Value> function_dict(Interpreter& interpreter, const Arguments& arguments) {
  HADAL_TRY(auto entries, entries_of(interpreter, "dict", arguments));
  return make_dict(&interpreter.budget(), std::move(entries));
}

Result<Value> function_namespace(Interpreter& interpreter, const Arguments& arguments) {
  HADAL_TRY(const auto entries, entries_of(interpreter, "namespace", arguments));
  std::vector<std::pair<std::string, Value>> attributes;
  for (const auto& [name, value] : entries) {
    if (!name.is_string()) return fail("an attribute's name is a {}", type_name(name));
    attributes.emplace_back(name.text().bytes(), value);
  }
  return interpreter.make_namespace(std::move(attributes));
}

Result<Value> function_raise_exception(Interpreter& interpreter, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("raise_exception", arguments, {"message"}, 1));
  HADAL_TRY(const Text message, to_text(interpreter.budget(), bound[0]));
  constexpr size_t kMessageBytesMax = 1000;
  return fail("{}", valid_utf8(message.view().substr(0, kMessageBytesMax)));
}

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};

std::string_view name_of(std::span<const std::string_view> names, int index) {
  return names[static_cast<size_t>(std::clamp(index, 0, static_cast<int>(names.size()) - 1))];
}

// One strftime conversion in the C locale. flag: '-' (no padding), '_' (spaces), '0' or none.
Result<std::string> format_time(const std::tm& time, char conversion, char flag) {
  const auto number = [&](int value, int width, char usual = '0') {
    const char fill = flag == '_' ? ' ' : flag == '0' ? '0' : usual;
    std::string digits = std::to_string(value);
    const auto missing = static_cast<size_t>(std::max(0, width - static_cast<int>(digits.size())));
    return flag == '-' ? digits : std::string(missing, fill) + digits;
  };
  const auto together = [&](std::string_view conversions) -> Result<std::string> {
    std::string text;
    for (const char c : conversions) {
      const bool literal = std::string_view(":/ ").find(c) != std::string_view::npos;
      if (literal) {
        text.push_back(c);
        continue;
      }
      HADAL_TRY(const std::string part, format_time(time, c, '\0'));
      text += part;
    }
    return text;
  };
  const int hour12 = time.tm_hour % 12 == 0 ? 12 : time.tm_hour % 12;
  switch (conversion) {
    case 'Y':
      return std::to_string(time.tm_year + 1900);
    case 'y':
      return number(time.tm_year % 100, 2);
    case 'C':
      return number((time.tm_year + 1900) / 100, 2);
    case 'm':
      return number(time.tm_mon + 1, 2);
    case 'd':
      return number(time.tm_mday, 2);
    case 'e':
      return number(time.tm_mday, 2, ' ');
    case 'H':
      return number(time.tm_hour, 2);
    case 'I':
      return number(hour12, 2);
    case 'M':
      return number(time.tm_min, 2);
    case 'S':
      return number(time.tm_sec, 2);
    case 'f':
      return std::string("000000");
    case 'j':
      return number(time.tm_yday + 1, 3);
    case 'w':
      return std::to_string(time.tm_wday);
    case 'u':
      return std::to_string(time.tm_wday == 0 ? 7 : time.tm_wday);
    case 'U':
      return number((time.tm_yday + 7 - time.tm_wday) / 7, 2);
    case 'W':
      return number((time.tm_yday + 7 - (time.tm_wday + 6) % 7) / 7, 2);
    case 'p':
      return std::string(time.tm_hour < 12 ? "AM" : "PM");
    case 'A':
      return std::string(name_of(kDays, time.tm_wday));
    case 'a':
      return std::string(name_of(kDays, time.tm_wday).substr(0, 3));
    case 'B':
      return std::string(name_of(kMonths, time.tm_mon));
    case 'b':
    case 'h':
      return std::string(name_of(kMonths, time.tm_mon).substr(0, 3));
    case 'F':
      return fmt::format("{}-{:02}-{:02}", time.tm_year + 1900, time.tm_mon + 1, time.tm_mday);
    case 'D':
    case 'x':
      return together("m/d/y");
    case 'T':
    case 'X':
      return together("H:M:S");
    case 'R':
      return together("H:M");
    case 'r':
      return together("I:M:S p");
    case 'c':
      return together("a b e H:M:S Y");
    case 'Z':
    case 'z':
      return std::string();  // Python's now() has no zone
    case 'n':
      return std::string("\n");
    case 't':
      return std::string("\t");
    case '%':
      return std::string("%");
    default:
      return fail("strftime_now does not know '%{}'", conversion);
  }
}

Result<Value> function_strftime_now(Interpreter& interpreter, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("strftime_now", arguments, {"format"}, 1));
  if (!bound[0].is_string()) return fail("strftime_now needs a string");
  if (!interpreter.local_time()) return fail("the template asks for the time, which was not given");
  const Text& format = bound[0].text();
  const std::string_view bytes = format.view();
  std::string text;
  for (size_t at = 0; at < bytes.size(); at++) {
    if (bytes[at] != '%') {
      text.push_back(bytes[at]);
      continue;
    }
    at++;
    char flag = '\0';
    if (at < bytes.size() && (bytes[at] == '-' || bytes[at] == '_' || bytes[at] == '0')) {
      flag = bytes[at++];
    }
    if (at >= bytes.size()) return fail("strftime_now's format ends with '%'");
    if (static_cast<unsigned char>(bytes[at]) >= 0x80) {
      return fail("strftime_now does not know a letter of its format");
    }
    HADAL_TRY(const std::string part, format_time(*interpreter.local_time(), bytes[at], flag));
    text += part;
  }
  return interpreter.string(Text(std::move(text), format.trust_of_whole()));
}

constexpr FunctionEntry kFunctions[] = {
    {"dict", function_dict},
    {"namespace", function_namespace},
    {"raise_exception", function_raise_exception},
    {"range", function_range},
    {"strftime_now", function_strftime_now},
};

template <typename Entry>
const Entry* find_entry(std::span<const Entry> entries, std::string_view name) {
  const auto found = std::lower_bound(
      entries.begin(), entries.end(), name,
      [](const Entry& entry, std::string_view wanted) { return entry.name < wanted; });
  return found != entries.end() && found->name == name ? &*found : nullptr;
}

}  // namespace

std::span<const FunctionEntry> all_functions() {
  return kFunctions;
}

const FilterEntry* find_filter(std::string_view name) {
  const FilterEntry* entry = find_entry(text_filters(), name);
  return entry != nullptr ? entry : find_entry(sequence_filters(), name);
}

const TestEntry* find_test(std::string_view name) {
  return find_entry(all_tests(), name);
}

const MethodEntry* find_method(Kind kind, std::string_view name) {
  switch (kind) {
    case Kind::string:
      return find_entry(string_methods(), name);
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
    case Kind::loop:
      return find_entry(container_methods(kind), name);
    default:
      return nullptr;
  }
}

}  // namespace hadal::jinja
