// Python's operators and Python's printing on the interpreter's values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/template/jinja_value.h"

namespace hadal::jinja {

enum class Operator : uint8_t {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  equal,
  not_equal,
  less,
  less_or_equal,
  greater,
  greater_or_equal,
  in,
  not_in,
};

Result<Value> arithmetic(Budget& budget, Operator op, const Value& left, const Value& right);
Result<Value> negate(const Value& value);
Result<bool> equals(Budget& budget, const Value& left, const Value& right);
Result<bool> compare(Budget& budget, Operator op, const Value& left, const Value& right);
Result<bool> contains(Budget& budget, const Value& container, const Value& item);

// Python's slice positions; the bounds may be absent. step is not 0.
struct SliceBounds {
  std::optional<int64_t> start, stop;
  int64_t step = 1;
};
// The indices the slice takes out of `length` items, in order: start, start + step, ... `count` of
// them.
struct SlicePlan {
  int64_t start;
  int64_t step;
  size_t count;
};
SlicePlan plan_slice(const SliceBounds& bounds, size_t length);
Result<Value> slice(Budget& budget, const Value& value, const SliceBounds& bounds);

// Sorts stably by the keys; an error of a comparison ends it.
struct Keyed {
  std::vector<Value> keys;  // compared in turn, equal ones passed over
  Value item;
};
struct SortOptions {
  bool reverse = false;
  bool plain_keys =
      false;  // one key each, compared by < even if equal: none and none do not compare
};
Status sort_by_keys(Budget& budget, std::vector<Keyed>& values, const SortOptions& options);

// & < > ' " as HTML entities, each as trusted as what it stands for.
Text escape_html(const Text& text);

// printf-style formatting: 'text %s' % values.
Result<Value> percent_format(Budget& budget, const Value& format, const Value& values);

// --- printing ---

// str(value): what {{ value }} prints. Refused for results that would not fit the budget.
Result<Text> to_text(Budget& budget, const Value& value);
// repr(value)
Result<Text> to_literal(Budget& budget, const Value& value);
std::string float_literal(double value);  // 1.0, 1e-05, inf

struct JsonStyle {
  std::optional<std::string> indent;  // one level's worth; absent: on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ascii_only = false;
  bool sort_keys = false;
};
// json.dumps(value)
Result<Text> to_json(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace hadal::jinja
