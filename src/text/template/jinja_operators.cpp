#include "text/template/jinja_operators.h"

#include <algorithm>
#include <cmath>

namespace hadal::jinja {
namespace {

constexpr std::string_view symbol(Operator op) {
  switch (op) {
    case Operator::add:
      return "+";
    case Operator::subtract:
      return "-";
    case Operator::multiply:
      return "*";
    case Operator::divide:
      return "/";
    case Operator::floor_divide:
      return "//";
    case Operator::modulo:
      return "%";
    case Operator::power:
      return "**";
    case Operator::equal:
      return "==";
    case Operator::not_equal:
      return "!=";
    case Operator::less:
      return "<";
    case Operator::less_or_equal:
      return "<=";
    case Operator::greater:
      return ">";
    case Operator::greater_or_equal:
      return ">=";
    case Operator::in:
      return "in";
    case Operator::not_in:
      return "not in";
  }
  return "?";
}

Error unsupported(Operator op, const Value& left, const Value& right) {
  for (const Value* side : {&left, &right}) {
    if (side->is_undefined()) return {side->undefined_story()};
  }
  return {fmt::format("'{}' does not work on a {} and a {}", symbol(op), type_name(left),
                      type_name(right))};
}

tl::unexpected<Error> too_large(Operator op) {
  return fail("the result of '{}' does not fit in 64 bits", symbol(op));
}

Result<Value> integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return fail("0 cannot be raised to a negative power");
    return Value::floating(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  if (base == 0 || base == 1) return Value::integer(exponent == 0 ? 1 : base);
  if (base == -1) return Value::integer(exponent % 2 == 0 ? 1 : -1);
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; i++) {  // overflows after 63 turns at the latest
    if (__builtin_mul_overflow(result, base, &result)) return too_large(Operator::power);
  }
  return Value::integer(result);
}

Result<Value> integer_arithmetic(Operator op, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::add:
      overflow = __builtin_add_overflow(left, right, &result);
      break;
    case Operator::subtract:
      overflow = __builtin_sub_overflow(left, right, &result);
      break;
    case Operator::multiply:
      overflow = __builtin_mul_overflow(left, right, &result);
      break;
    case Operator::power:
      return integer_power(left, right);
    default:
      if (right == 0) return fail("division by zero");
      if (op == Operator::divide) {
        return Value::floating(static_cast<double>(left) / static_cast<double>(right));
      }
      if (right == -1) {  // the one quotient that may overflow, and whose remainder traps
        overflow = __builtin_sub_overflow(int64_t{0}, left, &result);
        if (op == Operator::modulo) return Value::integer(0);
        break;
      }
      const int64_t remainder = left % right;
      const bool floors = remainder != 0 && (remainder < 0) != (right < 0);
      result = op == Operator::modulo ? remainder + (floors ? right : 0)
                                      : left / right - (floors ? 1 : 0);
  }
  if (overflow) return too_large(op);
  return Value::integer(result);
}

Result<Value> float_arithmetic(Operator op, double left, double right) {
  switch (op) {
    case Operator::add:
      return Value::floating(left + right);
    case Operator::subtract:
      return Value::floating(left - right);
    case Operator::multiply:
      return Value::floating(left * right);
    case Operator::power: {
      if (left == 0 && right < 0) return fail("0.0 cannot be raised to a negative power");
      if (left < 0 && std::isfinite(right) && right != std::floor(right)) {
        return fail("a negative number has no power with a fraction here");
      }
      const double result = std::pow(left, right);
      if (std::isinf(result) && std::isfinite(left) && std::isfinite(right)) return too_large(op);
      return Value::floating(result);
    }
    default:
      break;
  }
  if (right == 0) return fail("division by zero");
  if (op == Operator::divide) return Value::floating(left / right);
  double remainder = std::fmod(left, right);
  double quotient = (left - remainder) / right;
  if (remainder != 0 && (right < 0) != (remainder < 0)) {
    remainder += right;
    quotient -= 1;
  } else if (remainder == 0) {
    remainder = std::copysign(0.0, right);
  }
  if (op == Operator::modulo) return Value::floating(remainder);
  if (quotient == 0) return Value::floating(std::copysign(0.0, left / right));
  double whole = std::floor(quotient);
  if (quotient - whole > 0.5) whole += 1;  // the division rounded just below a whole number
  return Value::floating(whole);
}

Result<Value> add_strings(Budget& budget, const Value& left, const Value& right) {
  HADAL_TRY_VOID(budget.room_for(left.text().size() + right.text().size()));
  const bool markup = left.is_markup() || right.is_markup();
  Text sum;
  for (const Value* side : {&left, &right}) {
    if (markup && !side->is_markup()) {
      sum.append(escape_html(side->text()));
    } else {
      sum.append(side->text());
    }
  }
  return make_string(&budget, std::move(sum), markup);
}

Result<Value> add_sequences(Budget& budget, const Value& left, const Value& right) {
  HADAL_TRY_VOID(budget.room_for((left.items().size() + right.items().size()) * sizeof(Value)));
  std::vector<Value> items = left.items();
  items.insert(items.end(), right.items().begin(), right.items().end());
  return left.is(Kind::list) ? make_list(&budget, std::move(items))
                             : make_tuple(&budget, std::move(items));
}

Result<Value> repeat(Budget& budget, const Value& value, int64_t times) {
  const size_t count = times < 0 ? 0 : static_cast<size_t>(times);
  const size_t unit =
      value.is_string() ? value.text().memory_bytes() : value.items().size() * sizeof(Value);
  size_t bytes = 0;
  if (__builtin_mul_overflow(unit, count, &bytes)) bytes = SIZE_MAX;
  HADAL_TRY_VOID(budget.room_for(bytes));
  if (unit == 0 || count == 0) {
    if (value.is_string()) return make_string(&budget, Text());
    return value.is(Kind::list) ? make_list(&budget, {}) : make_tuple(&budget, {});
  }
  if (value.is_string()) {
    HADAL_TRY_VOID(budget.step_for_bytes(bytes));
    HADAL_TRY_VOID(budget.step_for_items(count));
    Text result;
    for (size_t i = 0; i < count; i++) result.append(value.text());
    return make_string(&budget, std::move(result), value.is_markup());
  }
  std::vector<Value> items;
  items.reserve(value.items().size() * count);
  for (size_t i = 0; i < count; i++) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.is(Kind::list) ? make_list(&budget, std::move(items))
                              : make_tuple(&budget, std::move(items));
}

}  // namespace

Result<Value> arithmetic(Budget& budget, Operator op, const Value& left, const Value& right) {
  HADAL_TRY_VOID(budget.step());
  if (op == Operator::modulo && left.is_string()) return percent_format(budget, left, right);
  if (left.is_integral() && right.is_integral()) {
    return integer_arithmetic(op, left.as_integer(), right.as_integer());
  }
  if (left.is_number() && right.is_number()) {
    return float_arithmetic(op, left.as_double(), right.as_double());
  }
  if (op == Operator::add) {
    if (left.is_string() && right.is_string()) return add_strings(budget, left, right);
    if (left.is_sequence() && left.kind() == right.kind()) {
      return add_sequences(budget, left, right);
    }
  }
  if (op == Operator::multiply) {
    const auto repeats = [](const Value& v) { return v.is_string() || v.is_sequence(); };
    if (repeats(left) && right.is_integral()) return repeat(budget, left, right.as_integer());
    if (repeats(right) && left.is_integral()) return repeat(budget, right, left.as_integer());
  }
  return tl::unexpected<Error>(unsupported(op, left, right));
}

Result<Value> negate(const Value& value) {
  if (value.is_integral()) return integer_arithmetic(Operator::subtract, 0, value.as_integer());
  if (value.is_number()) return Value::floating(-value.as_double());
  if (value.is_undefined()) return fail("{}", value.undefined_story());
  return fail("a {} has no sign", type_name(value));
}

Text escape_html(const Text& text) {
  const std::string_view bytes = text.view();
  Text result;
  size_t from = 0;
  for (size_t at = 0; at < bytes.size(); at++) {
    std::string_view entity;
    if (bytes[at] == '&') entity = "&amp;";
    if (bytes[at] == '<') entity = "&lt;";
    if (bytes[at] == '>') entity = "&gt;";
    if (bytes[at] == '\'') entity = "&#39;";
    if (bytes[at] == '"') entity = "&#34;";
    if (entity.empty()) continue;
    result.append_slice(text, from, at);
    result.append(entity, text.trust_at(at));
    from = at + 1;
  }
  result.append_slice(text, from, bytes.size());
  return result;
}

// --- comparing ---

namespace {

// -1, 0, 1; 2 for NaN
int order_of_numbers(const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) {
    return left.as_integer() < right.as_integer() ? -1 : left.as_integer() > right.as_integer();
  }
  // x86's long double holds every 64-bit integer exactly.
  const auto exact = [](const Value& v) {
    return v.is_integral() ? static_cast<long double>(v.as_integer()) : v.as_double();
  };
  const long double a = exact(left);
  const long double b = exact(right);
  if (std::isnan(a) || std::isnan(b)) return 2;
  return a < b ? -1 : a > b;
}

Result<bool> equal_dicts(Budget& budget, const DictObject& left, const DictObject& right) {
  if (left.entries.size() != right.entries.size()) return false;
  for (const auto& [key, value] : left.entries) {
    const Value* other = right.find(key);
    if (other == nullptr) return false;
    HADAL_TRY(const bool same, equals(budget, value, *other));
    if (!same) return false;
  }
  return true;
}

Result<bool> compare_sequences(Budget& budget, Operator op, const Value& left, const Value& right) {
  const size_t common = std::min(left.items().size(), right.items().size());
  for (size_t i = 0; i < common; i++) {
    HADAL_TRY(const bool same, equals(budget, left.items()[i], right.items()[i]));
    if (!same) return compare(budget, op, left.items()[i], right.items()[i]);
  }
  return compare(budget, op, Value::integer(static_cast<int64_t>(left.items().size())),
                 Value::integer(static_cast<int64_t>(right.items().size())));
}

bool holds(Operator op, int order) {
  switch (op) {
    case Operator::less:
      return order == -1;
    case Operator::less_or_equal:
      return order == -1 || order == 0;
    case Operator::greater:
      return order == 1;
    default:
      return order == 1 || order == 0;
  }
}

}  // namespace

Result<bool> equals(Budget& budget, const Value& left, const Value& right) {
  HADAL_TRY_VOID(budget.step());
  if (left.is_number() && right.is_number()) return order_of_numbers(left, right) == 0;
  if (left.kind() != right.kind()) return false;
  if (left.same_object(right)) return true;
  switch (left.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      HADAL_TRY_VOID(budget.step_for_bytes(left.text().size()));
      return left.text().view() == right.text().view();
    case Kind::list:
    case Kind::tuple:
      if (left.items().size() != right.items().size()) return false;
      for (size_t i = 0; i < left.items().size(); i++) {
        HADAL_TRY(const bool same, equals(budget, left.items()[i], right.items()[i]));
        if (!same) return false;
      }
      return true;
    case Kind::dict:
      return equal_dicts(budget, left.dict(), right.dict());
    case Kind::range: {
      const RangeObject& a = left.range();
      const RangeObject& b = right.range();
      if (a.count != b.count) return false;
      return a.count == 0 || (a.start == b.start && (a.count == 1 || a.step == b.step));
    }
    case Kind::function:
      return left.function_index() == right.function_index();
    default:
      return false;
  }
}

Result<bool> compare(Budget& budget, Operator op, const Value& left, const Value& right) {
  HADAL_TRY_VOID(budget.step());
  switch (op) {
    case Operator::equal:
      return equals(budget, left, right);
    case Operator::not_equal: {
      HADAL_TRY(const bool same, equals(budget, left, right));
      return !same;
    }
    case Operator::in:
      return contains(budget, right, left);
    case Operator::not_in: {
      HADAL_TRY(const bool inside, contains(budget, right, left));
      return !inside;
    }
    default:
      break;
  }
  if (left.is_number() && right.is_number()) return holds(op, order_of_numbers(left, right));
  if (left.is_string() && right.is_string()) {
    HADAL_TRY_VOID(budget.step_for_bytes(left.text().size()));
    const int order = left.text().bytes().compare(right.text().bytes());  // = by code points
    return holds(op, order < 0 ? -1 : order > 0);
  }
  if (left.is_sequence() && left.kind() == right.kind()) {
    return compare_sequences(budget, op, left, right);
  }
  return tl::unexpected<Error>(unsupported(op, left, right));
}

namespace {

Result<bool> any_equal(Budget& budget, const std::vector<Value>& items, const Value& item) {
  for (const Value& other : items) {
    HADAL_TRY(const bool same, equals(budget, other, item));
    if (same) return true;
  }
  return false;
}

}  // namespace

Result<bool> contains(Budget& budget, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::undefined:
      return false;
    case Kind::string:
      if (!item.is_string()) {
        if (item.is_undefined()) return fail("{}", item.undefined_story());
        return fail("only a string can be in a string, not a {}", type_name(item));
      }
      HADAL_TRY_VOID(budget.step_for_bytes(container.text().size()));
      return container.text().view().find(item.text().view()) != std::string_view::npos;
    case Kind::list:
    case Kind::tuple:
      return any_equal(budget, container.items(), item);
    case Kind::dict:
      if (item.is(Kind::list) || item.is(Kind::dict)) {
        return fail("a {} cannot be a key of a dict", type_name(item));
      }
      return container.dict().find(item) != nullptr;
    case Kind::iterator: {  // reads up to and with the item
      IteratorObject& iterator = container.iterator();
      while (iterator.next < iterator.items.size()) {
        HADAL_TRY(const bool same, equals(budget, iterator.items[iterator.next++], item));
        if (same) return true;
      }
      return false;
    }
    case Kind::range:
    case Kind::view: {
      HADAL_TRY(const std::vector<Value> items, iterate(budget, container));
      return any_equal(budget, items, item);
    }
    default:
      return fail("nothing can be in a {}", type_name(container));
  }
}

// --- slicing ---

SlicePlan plan_slice(const SliceBounds& bounds, size_t length) {
  const auto size = static_cast<int64_t>(length);
  const bool forward = bounds.step > 0;
  const int64_t lowest = forward ? 0 : -1;
  const int64_t highest = forward ? size : size - 1;
  const auto place = [&](const std::optional<int64_t>& bound, int64_t absent) {
    if (!bound) return absent;
    if (*bound < 0) return std::max(lowest, *bound < -size ? lowest : *bound + size);
    return std::min(highest, *bound);
  };
  const int64_t start = place(bounds.start, forward ? lowest : highest);
  const int64_t stop = place(bounds.stop, forward ? highest : lowest);
  const int64_t distance = forward ? stop - start : start - stop;
  if (distance <= 0) return {.start = 0, .step = bounds.step, .count = 0};
  // |step| without overflow for the smallest integer
  const uint64_t stride =
      forward ? static_cast<uint64_t>(bounds.step) : ~static_cast<uint64_t>(bounds.step) + 1;
  const uint64_t count = (static_cast<uint64_t>(distance) - 1) / stride + 1;
  return {.start = start, .step = bounds.step, .count = static_cast<size_t>(count)};
}

namespace {

Text slice_text(const Text& text, const SlicePlan& plan) {
  if (plan.count == 0) return {};
  const std::string_view bytes = text.view();
  size_t at = code_point_offset(bytes, static_cast<size_t>(plan.start));
  if (plan.step == 1) {
    const size_t length = code_point_offset(bytes.substr(at), plan.count);
    return text.slice(at, at + length);
  }
  Text result;
  for (size_t taken = 1;; taken++) {
    result.append_slice(text, at, at + code_point_at(bytes, at).bytes);
    if (taken == plan.count) return result;
    for (int64_t move = 0; move != plan.step; move += plan.step > 0 ? 1 : -1) {
      at = plan.step > 0 ? at + code_point_at(bytes, at).bytes : code_point_before(bytes, at);
    }
  }
}

}  // namespace

Result<Value> slice(Budget& budget, const Value& value, const SliceBounds& bounds) {
  if (bounds.step == 0) return fail("a slice's step cannot be zero");
  if (value.is_undefined()) return fail("{}", value.undefined_story());
  if (value.is_string()) {
    HADAL_TRY_VOID(budget.step_for_bytes(value.text().size()));
    const SlicePlan plan = plan_slice(bounds, count_code_points(value.text().view()));
    return make_string(&budget, slice_text(value.text(), plan), value.is_markup());
  }
  if (value.is(Kind::range)) {
    const RangeObject& range = value.range();
    const SlicePlan plan = plan_slice(bounds, range.count);
    auto part = std::make_shared<RangeObject>();
    HADAL_TRY_VOID(account(*part, &budget, sizeof(RangeObject), 0));
    part->start = range.start + range.step * plan.start;
    part->step = plan.count > 1 ? range.step * plan.step : 1;
    part->count = plan.count;
    return Value(Kind::range, std::move(part));
  }
  if (!value.is_sequence()) return fail("a {} cannot be sliced", type_name(value));
  const SlicePlan plan = plan_slice(bounds, value.items().size());
  std::vector<Value> items;
  items.reserve(plan.count);
  for (size_t i = 0; i < plan.count; i++) {
    const int64_t index = plan.start + plan.step * static_cast<int64_t>(i);
    items.push_back(value.items()[static_cast<size_t>(index)]);
  }
  return value.is(Kind::list) ? make_list(&budget, std::move(items))
                              : make_tuple(&budget, std::move(items));
}

// --- sorting ---

namespace {

// Whether `left` must come after `right`.
Result<bool> out_of_order(Budget& budget, const Keyed& left, const Keyed& right,
                          const SortOptions& options) {
  for (size_t i = 0; i < left.keys.size(); i++) {
    const Value& low = options.reverse ? left.keys[i] : right.keys[i];
    const Value& high = options.reverse ? right.keys[i] : left.keys[i];
    if (options.plain_keys) return compare(budget, Operator::less, low, high);
    HADAL_TRY(const bool same, equals(budget, low, high));
    if (!same) return compare(budget, Operator::less, low, high);
  }
  return false;
}

}  // namespace

// A merge sort of our own: a comparison may fail, and may be inconsistent (NaN).
Status sort_by_keys(Budget& budget, std::vector<Keyed>& values, const SortOptions& options) {
  HADAL_TRY_VOID(budget.step_for_items(values.size()));
  std::vector<Keyed> merged(values.size());
  for (size_t width = 1; width < values.size(); width *= 2) {
    for (size_t begin = 0; begin < values.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, values.size());
      const size_t end = std::min(begin + 2 * width, values.size());
      size_t left = begin;
      size_t right = middle;
      for (size_t to = begin; to < end; to++) {
        bool take_right = left == middle;
        if (!take_right && right < end) {
          HADAL_TRY(take_right, out_of_order(budget, values[left], values[right], options));
        }
        merged[to] = std::move(values[take_right ? right++ : left++]);
      }
    }
    std::swap(values, merged);
  }
  return {};
}

}  // namespace hadal::jinja
