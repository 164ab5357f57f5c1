// Expressions: what a template computes.
#include <algorithm>
#include <utility>

#include "text/template/jinja_interpreter.h"

namespace hadal::jinja {

Status Interpreter::Depth::check() const {
  const size_t depth_max = interpreter_.budget_.limits().depth_max;
  if (interpreter_.depth_ <= depth_max) return {};
  return fail("the template calls itself or nests too deeply (limit: {})", depth_max);
}

Result<Value> Interpreter::evaluate(const Expression& expression) {
  if (expression.kind == ExpressionKind::constant) return expression.constant;
  HADAL_TRY_VOID(budget_.step());
  const Depth depth(*this);
  HADAL_TRY_VOID(depth.check());
  line_ = expression.line;
  return evaluate_node(expression);
}

Result<Value> Interpreter::evaluate_node(const Expression& expression) {
  switch (expression.kind) {
    case ExpressionKind::constant:
      return expression.constant;
    case ExpressionKind::name:
      return evaluate_name(expression);
    case ExpressionKind::list:
    case ExpressionKind::tuple:
      return evaluate_sequence(expression);
    case ExpressionKind::dict:
      return evaluate_dict(expression);
    case ExpressionKind::arithmetic:
      return evaluate_arithmetic(expression);
    case ExpressionKind::compare:
      return evaluate_compare(expression);
    case ExpressionKind::concat:
      return evaluate_concat(expression);
    case ExpressionKind::logical_and:
    case ExpressionKind::logical_or:
      return evaluate_logical(expression);
    case ExpressionKind::conditional:
      return evaluate_conditional(expression);
    case ExpressionKind::slice:
      return evaluate_slice(expression);
    case ExpressionKind::call:
      return evaluate_call(expression);
    case ExpressionKind::test:
      return evaluate_test(expression);
    default:
      break;
  }
  HADAL_TRY(const Value operand, evaluate(*expression.operands[0]));
  switch (expression.kind) {
    case ExpressionKind::logical_not:
      return Value::boolean(!truth(operand));
    case ExpressionKind::negative:
      return negate(operand);
    case ExpressionKind::positive: {
      HADAL_TRY_VOID(negate(operand));  // refuses what has no sign
      return operand.is(Kind::boolean) ? Value::integer(operand.as_integer()) : operand;
    }
    case ExpressionKind::attribute:
      return attribute(operand, expression.text);
    case ExpressionKind::subscript: {
      HADAL_TRY(const Value key, evaluate(*expression.operands[1]));
      return item(operand, key);
    }
    default:
      return evaluate_filter(expression, operand);
  }
}

Result<Value> Interpreter::evaluate_name(const Expression& expression) {
  if (const Value* found = scope_->find(expression.name)) return *found;
  return make_undefined(fmt::format("'{}' is undefined", program_.names[expression.name]));
}

Result<Value> Interpreter::evaluate_sequence(const Expression& expression) {
  std::vector<Value> items;
  items.reserve(expression.operands.size());
  for (const ExpressionPtr& operand : expression.operands) {
    HADAL_TRY(Value item, evaluate(*operand));
    items.push_back(std::move(item));
  }
  return expression.kind == ExpressionKind::list ? make_list(&budget_, std::move(items))
                                                 : make_tuple(&budget_, std::move(items));
}

Result<Value> Interpreter::evaluate_dict(const Expression& expression) {
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i < expression.operands.size(); i += 2) {
    HADAL_TRY(Value key, evaluate(*expression.operands[i]));
    HADAL_TRY(Value value, evaluate(*expression.operands[i + 1]));
    entries.emplace_back(std::move(key), std::move(value));
  }
  return make_dict(&budget_, std::move(entries));
}

Result<Value> Interpreter::evaluate_arithmetic(const Expression& expression) {
  HADAL_TRY(Value result, evaluate(*expression.operands[0]));
  for (size_t i = 0; i < expression.operators.size(); i++) {
    HADAL_TRY(const Value right, evaluate(*expression.operands[i + 1]));
    HADAL_TRY(result, arithmetic(budget_, expression.operators[i], result, right));
  }
  return result;
}

Result<Value> Interpreter::evaluate_compare(const Expression& expression) {
  HADAL_TRY(Value left, evaluate(*expression.operands[0]));
  for (size_t i = 0; i < expression.operators.size(); i++) {
    HADAL_TRY(Value right, evaluate(*expression.operands[i + 1]));
    HADAL_TRY(const bool holds, compare(budget_, expression.operators[i], left, right));
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Result<Value> Interpreter::evaluate_concat(const Expression& expression) {
  Text text;
  for (const ExpressionPtr& operand : expression.operands) {
    HADAL_TRY(const Value value, evaluate(*operand));
    HADAL_TRY(const Text part, to_text(budget_, value));
    HADAL_TRY_VOID(budget_.room_for(text.size() + part.size()));
    text.append(part);
  }
  return string(std::move(text));
}

// Gives the deciding operand itself, as Python does.
Result<Value> Interpreter::evaluate_logical(const Expression& expression) {
  const bool decides = expression.kind == ExpressionKind::logical_or;
  Value value;
  for (const ExpressionPtr& operand : expression.operands) {
    HADAL_TRY(value, evaluate(*operand));
    if (truth(value) == decides) break;
  }
  return value;
}

Result<Value> Interpreter::evaluate_conditional(const Expression& expression) {
  HADAL_TRY(const Value condition, evaluate(*expression.operands[1]));
  if (truth(condition)) return evaluate(*expression.operands[0]);
  if (expression.operands.size() > 2) return evaluate(*expression.operands[2]);
  return make_undefined(
      "the inline if-expression evaluated to false and no else section was defined");
}

Result<Value> Interpreter::evaluate_slice(const Expression& expression) {
  HADAL_TRY(const Value value, evaluate(*expression.operands[0]));
  std::optional<int64_t> bounds[3];
  for (size_t i = 0; i < 3; i++) {
    const ExpressionPtr& bound = expression.operands[i + 1];
    if (!bound) continue;
    HADAL_TRY(const Value given, evaluate(*bound));
    if (given.is_none()) continue;
    if (given.is_undefined()) return fail("{}", given.undefined_story());
    if (!given.is_integral()) return fail("a slice's bound is a {}", type_name(given));
    bounds[i] = given.as_integer();
  }
  return slice(budget_, value,
               {.start = bounds[0], .stop = bounds[1], .step = bounds[2].value_or(1)});
}

Result<Arguments> Interpreter::evaluate_arguments(const CallArguments* given) {
  constexpr size_t kArgumentsMax = 255;
  Arguments arguments;
  if (given == nullptr) return arguments;
  for (const ExpressionPtr& expression : given->positional) {
    HADAL_TRY(Value value, evaluate(*expression));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, expression] : given->named) {
    HADAL_TRY(Value value, evaluate(*expression));
    arguments.named.emplace_back(name, std::move(value));
  }
  if (given->more_positional) {
    HADAL_TRY(const Value more, evaluate(*given->more_positional));
    HADAL_TRY(const std::vector<Value> items, iterate(budget_, more));
    arguments.positional.insert(arguments.positional.end(), items.begin(), items.end());
  }
  if (given->more_named) {
    HADAL_TRY(const Value more, evaluate(*given->more_named));
    if (!more.is(Kind::dict)) return fail("what follows '**' is a {}", type_name(more));
    for (const auto& [name, value] : more.dict().entries) {
      if (!name.is_string()) return fail("an argument's name is a {}", type_name(name));
      if (arguments.named.size() > kArgumentsMax) break;
      arguments.named.emplace_back(name.text().bytes(), value);
    }
  }
  if (arguments.positional.size() + arguments.named.size() > kArgumentsMax) {
    return fail("a call has too many arguments (limit: {})", kArgumentsMax);
  }
  return arguments;
}

Result<Value> Interpreter::evaluate_call(const Expression& expression) {
  HADAL_TRY(const Value callee, evaluate(*expression.operands[0]));
  HADAL_TRY(const Arguments arguments, evaluate_arguments(expression.arguments.get()));
  line_ = expression.line;
  return call(callee, arguments);
}

Result<Value> Interpreter::evaluate_filter(const Expression& expression, const Value& value) {
  HADAL_TRY(const Arguments arguments, evaluate_arguments(expression.arguments.get()));
  line_ = expression.line;
  return filter(expression.text, value, arguments);
}

Result<Value> Interpreter::apply_filters(const Expression& chain, const Value& value) {
  if (!chain.operands[0]) return evaluate_filter(chain, value);
  HADAL_TRY(const Value inner, apply_filters(*chain.operands[0], value));
  return evaluate_filter(chain, inner);
}

Result<Value> Interpreter::evaluate_test(const Expression& expression) {
  HADAL_TRY(const Value value, evaluate(*expression.operands[0]));
  HADAL_TRY(const Arguments arguments, evaluate_arguments(expression.arguments.get()));
  HADAL_TRY(const bool passed, test(expression.text, value, arguments));
  return Value::boolean(passed);
}

// --- calls ---

Result<Value> Interpreter::call(const Value& callee, const Arguments& arguments) {
  HADAL_TRY_VOID(budget_.step());
  switch (callee.kind()) {
    case Kind::function:
      return all_functions()[callee.function_index()].call(*this, arguments);
    case Kind::method: {
      const MethodObject& method = callee.method();
      if (method.self.is_string()) {
        HADAL_TRY_VOID(budget_.step_for_bytes(method.self.text().size()));
      }
      return method.entry->call(*this, method.self, arguments);
    }
    case Kind::macro:
      return call_macro(callee.macro(), arguments);
    case Kind::loop:
      return call_loop(callee.loop(), arguments);
    case Kind::undefined:
      return fail("{}", callee.undefined_story());
    default:
      return fail("a {} cannot be called", type_name(callee));
  }
}

Result<Value> Interpreter::filter(std::string_view name, const Value& value,
                                  const Arguments& arguments) {
  const FilterEntry* entry = find_filter(name);
  if (entry == nullptr) return fail("there is no filter '{}'", name);
  HADAL_TRY_VOID(value.is_string() ? budget_.step_for_bytes(value.text().size()) : budget_.step());
  return entry->apply(*this, value, arguments);
}

Result<bool> Interpreter::test(std::string_view name, const Value& value,
                               const Arguments& arguments) {
  const TestEntry* entry = find_test(name);
  if (entry == nullptr) return fail("there is no test '{}'", name);
  HADAL_TRY_VOID(budget_.step());
  return entry->apply(*this, value, arguments);
}

// --- items and attributes ---

namespace {

// The character, item or number at the position; null: there is none.
Result<std::optional<Value>> at_index(Budget& budget, const Value& object, int64_t index) {
  HADAL_TRY(const size_t count, length(object));
  if (object.is_string()) HADAL_TRY_VOID(budget.step_for_bytes(object.text().size()));
  if (index < 0) index += static_cast<int64_t>(count);
  if (index < 0 || index >= static_cast<int64_t>(count)) return std::optional<Value>();
  const auto at = static_cast<size_t>(index);
  if (object.is_sequence()) return object.items()[at];
  if (object.is(Kind::range)) return object.range().at(at);
  const std::string_view bytes = object.text().view();
  const size_t begin = code_point_offset(bytes, at);
  const size_t end = begin + code_point_at(bytes, begin).bytes;
  HADAL_TRY(Value character, make_string(&budget, object.text().slice(begin, end)));
  return character;
}

bool has_positions(const Value& value) {
  return value.is_sequence() || value.is_string() || value.is(Kind::range);
}

}  // namespace

Result<Value> Interpreter::item(const Value& object, const Value& key) {
  if (object.is_undefined()) return fail("{}", object.undefined_story());
  if (has_positions(object) && key.is_integral()) {
    HADAL_TRY(const std::optional<Value> found, at_index(budget_, object, key.as_integer()));
    if (found) return *found;
  } else if (object.is(Kind::dict)) {
    if (const Value* found = object.dict().find(key)) return *found;
  }
  if (key.is_string()) {
    if (!object.is(Kind::dict)) return attribute(object, key.text().view());
    const MethodEntry* method = find_method(Kind::dict, key.text().view());
    if (method != nullptr) return make_method(&budget_, object, method);
    return make_undefined(fmt::format("'{}' has no attribute '{}'", type_name(object),
                                      key.text().view().substr(0, kStoryBytesMax)));
  }
  HADAL_TRY(const Text literal, to_literal(budget_, key));
  return make_undefined(fmt::format("{} has no element {}", type_name(object), literal.view()));
}

Result<Value> Interpreter::attribute(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::undefined:
      return fail("{}", object.undefined_story());
    case Kind::name_space:
      if (const Value* found = object.name_space().find(name)) return *found;
      break;
    case Kind::loop:
      return loop_attribute(object.loop(), object, name);
    case Kind::macro:
      if (name == "name") return string(Text::trusted(object.macro().signature->name));
      break;
    case Kind::range: {
      const RangeObject& range = object.range();
      if (name == "start") return Value::integer(range.start);
      if (name == "step") return Value::integer(range.step);
      break;
    }
    default:
      if (is_mutating_method(object.kind(), name)) {
        return make_undefined(
            fmt::format("a template may not change a {} with '{}'", type_name(object), name));
      }
      if (const MethodEntry* method = find_method(object.kind(), name)) {
        return make_method(&budget_, object, method);
      }
      if (object.is(Kind::dict)) {
        if (const Value* found = object.dict().find(name)) return *found;
      }
  }
  return make_undefined(fmt::format("'{}' has no attribute '{}'", type_name(object), name));
}

Result<size_t> Interpreter::loop_length(LoopObject& loop) {
  if (!loop.length) {
    std::vector<Value> rest;  // all that is still to come, condition applied
    while (true) {
      HADAL_TRY(std::optional<Value> item, pull(loop));
      if (!item) break;
      rest.push_back(std::move(*item));
    }
    loop.length =
        rest.size() + static_cast<size_t>(loop.index0 + 1) + (loop.peeked.has_value() ? 1 : 0);
    loop.items = std::move(rest);
    loop.next_item = 0;
    loop.filtered = true;
  }
  return *loop.length;
}

Result<Value> Interpreter::loop_attribute(LoopObject& loop, const Value& self,
                                          std::string_view name) {
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "length" || name == "revindex" || name == "revindex0") {
    HADAL_TRY(const size_t length, loop_length(loop));
    const int64_t after = static_cast<int64_t>(length) - loop.index0;
    return Value::integer(name == "length"     ? static_cast<int64_t>(length)
                          : name == "revindex" ? after
                                               : after - 1);
  }
  if (name == "last" || name == "nextitem") {
    HADAL_TRY(const bool more, peek(loop));
    if (name == "last") return Value::boolean(!more);
    return more ? *loop.peeked : make_undefined("there is no next item");
  }
  if (name == "previtem") {
    return loop.previous ? *loop.previous : make_undefined("there is no previous item");
  }
  if (const MethodEntry* method = find_method(Kind::loop, name)) {
    return make_method(&budget_, self, method);
  }
  return make_undefined(fmt::format("'loop' has no attribute '{}'", name));
}

Result<Value> Interpreter::make_namespace(std::vector<std::pair<std::string, Value>> attributes) {
  auto object = std::make_unique<NamespaceObject>();
  HADAL_TRY_VOID(account(*object, &budget_, sizeof(NamespaceObject), 0));
  object->depth = 0;  // only pointed to
  for (const auto& [name, value] : attributes) HADAL_TRY_VOID(object->set(name, value));
  // Owned here, so that namespaces may point to each other in circles.
  const std::shared_ptr<Object> pointer(std::shared_ptr<Object>(), object.get());
  namespaces_.push_back(std::move(object));
  return Value(Kind::name_space, pointer);
}

// --- arguments ---

Result<Bound> Bound::bind(std::string_view callee, const Arguments& arguments,
                          std::initializer_list<std::string_view> names, size_t required) {
  Bound bound;
  if (arguments.positional.size() > names.size()) {
    return fail("'{}' takes at most {} arguments, not {}", callee, names.size(),
                arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); i++) {
    bound.values_[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return fail("'{}' takes no argument '{}'", callee, name);
    const Value*& slot = bound.values_[static_cast<size_t>(found - names.begin())];
    if (slot != nullptr) return fail("'{}' got its argument '{}' twice", callee, name);
    slot = &value;
  }
  for (size_t i = 0; i < required; i++) {
    if (bound.values_[i] == nullptr) {
      return fail("'{}' needs an argument '{}'", callee, *(names.begin() + i));
    }
  }
  return bound;
}

bool Bound::truth_or(size_t parameter, bool fallback) const {
  return has(parameter) ? truth(*values_[parameter]) : fallback;
}

Result<int64_t> Bound::integer_or(size_t parameter, int64_t fallback) const {
  if (!has(parameter)) return fallback;
  const Value& value = *values_[parameter];
  if (value.is_undefined()) return fail("{}", value.undefined_story());
  if (!value.is_integral()) return fail("a whole number is needed, not a {}", type_name(value));
  return value.as_integer();
}

}  // namespace hadal::jinja
