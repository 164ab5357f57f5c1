// What may stand after `is`.
#include <cmath>

#include "text/template/jinja_interpreter.h"
#include "text/template/jinja_operators.h"

namespace hadal::jinja {
namespace {

// A test that looks at the value alone.
template <bool (*kPredicate)(const Value&)>
Result<bool> plain(Interpreter&, const Value& value, const Arguments& arguments) {
  HADAL_TRY_VOID(Bound::bind("a test", arguments, {}));
  return kPredicate(value);
}

// A test that compares with one argument.
template <Operator kOperator>
Result<bool> comparing(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("a test", arguments, {"other"}, 1));
  return compare(interpreter.budget(), kOperator, value, bound[0]);
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.is(Kind::boolean);
}
bool is_true(const Value& value) {
  return value.is(Kind::boolean) && value.as_boolean();
}
bool is_false(const Value& value) {
  return value.is(Kind::boolean) && !value.as_boolean();
}
bool is_integer(const Value& value) {
  return value.is(Kind::integer);
}
bool is_float(const Value& value) {
  return value.is(Kind::floating);
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_string(const Value& value) {
  return value.is_string();
}
bool is_mapping(const Value& value) {
  return value.is(Kind::dict);
}
bool is_escaped(const Value& value) {
  return value.is_markup();
}
// As in jinja2, an undefined value counts: calling it is what tells its story.
bool is_callable(const Value& value) {
  return value.is_undefined() || value.is(Kind::function) || value.is(Kind::method) ||
         value.is(Kind::macro) || value.is(Kind::loop);
}
// Has a length and positions; jinja2 counts dicts and undefined values among them.
bool is_sequence(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_sequence() || value.is(Kind::dict) ||
         value.is(Kind::range);
}

Result<bool> test_iterable(Interpreter&, const Value& value, const Arguments&) {
  return is_iterable(value);
}

// Whether the cased letters of the value's text are all of one case, and there is one.
Result<bool> all_cased(Interpreter& interpreter, const Value& value, Casing wanted) {
  HADAL_TRY(const Text text, to_text(interpreter.budget(), value));
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint code_point = code_point_at(text.view(), at);
    const Casing casing = casing_of(code_point.value);
    if (casing != Casing::none && casing != wanted) return false;
    any = any || casing == wanted;
    at += code_point.bytes;
  }
  return any;
}

Result<bool> test_lower(Interpreter& interpreter, const Value& value, const Arguments&) {
  return all_cased(interpreter, value, Casing::lower);
}

Result<bool> test_upper(Interpreter& interpreter, const Value& value, const Arguments&) {
  return all_cased(interpreter, value, Casing::upper);
}

Result<bool> has_remainder(Interpreter& interpreter, const Value& value, int64_t divisor,
                           int64_t remainder) {
  if (value.is_string()) return fail("a str object is neither odd nor even");
  HADAL_TRY(const Value rest,
            arithmetic(interpreter.budget(), Operator::modulo, value, Value::integer(divisor)));
  return equals(interpreter.budget(), rest, Value::integer(remainder));
}

Result<bool> test_odd(Interpreter& interpreter, const Value& value, const Arguments&) {
  return has_remainder(interpreter, value, 2, 1);
}

Result<bool> test_even(Interpreter& interpreter, const Value& value, const Arguments&) {
  return has_remainder(interpreter, value, 2, 0);
}

Result<bool> test_divisibleby(Interpreter& interpreter, const Value& value,
                              const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("divisibleby", arguments, {"num"}, 1));
  if (value.is_string()) return fail("a str object cannot be divided");
  HADAL_TRY(const Value rest, arithmetic(interpreter.budget(), Operator::modulo, value, bound[0]));
  return equals(interpreter.budget(), rest, Value::integer(0));
}

Result<bool> test_sameas(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("sameas", arguments, {"other"}, 1));
  if (value.kind() != bound[0].kind()) return false;
  const bool simple = value.is_number() || value.is_none() || value.is_string();
  return simple ? equals(interpreter.budget(), value, bound[0]) : value.same_object(bound[0]);
}

Result<bool> test_in(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("in", arguments, {"seq"}, 1));
  return contains(interpreter.budget(), bound[0], value);
}

Result<bool> test_filter(Interpreter&, const Value& value, const Arguments&) {
  return value.is_string() && find_filter(value.text().view()) != nullptr;
}

Result<bool> test_test(Interpreter&, const Value& value, const Arguments&) {
  return value.is_string() && find_test(value.text().view()) != nullptr;
}

constexpr TestEntry kTests[] = {
    // sorted by name
    {"!=", comparing<Operator::not_equal>},
    {"<", comparing<Operator::less>},
    {"<=", comparing<Operator::less_or_equal>},
    {"==", comparing<Operator::equal>},
    {">", comparing<Operator::greater>},
    {">=", comparing<Operator::greater_or_equal>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", test_divisibleby},
    {"eq", comparing<Operator::equal>},
    {"equalto", comparing<Operator::equal>},
    {"escaped", plain<is_escaped>},
    {"even", test_even},
    {"false", plain<is_false>},
    {"filter", test_filter},
    {"float", plain<is_float>},
    {"ge", comparing<Operator::greater_or_equal>},
    {"greaterthan", comparing<Operator::greater>},
    {"gt", comparing<Operator::greater>},
    {"in", test_in},
    {"integer", plain<is_integer>},
    {"iterable", test_iterable},
    {"le", comparing<Operator::less_or_equal>},
    {"lessthan", comparing<Operator::less>},
    {"lower", test_lower},
    {"lt", comparing<Operator::less>},
    {"mapping", plain<is_mapping>},
    {"ne", comparing<Operator::not_equal>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", test_odd},
    {"sameas", test_sameas},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", test_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", test_upper},
};

}  // namespace

std::span<const TestEntry> all_tests() {
  return kTests;
}

}  // namespace hadal::jinja
