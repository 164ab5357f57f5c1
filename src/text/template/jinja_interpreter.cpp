// Statements: what a template does, one after another.
#include "text/template/jinja_interpreter.h"

#include <algorithm>

namespace hadal::jinja {

// Collects the output of a block. Pays for it until it is taken.
struct Interpreter::Capture {
  explicit Capture(Interpreter& interpreter)
      : interpreter(interpreter), outer(interpreter.output_) {
    interpreter.output_ = this;
  }
  ~Capture() {
    interpreter.output_ = outer;
    interpreter.budget_.release(charged_bytes);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  Interpreter& interpreter;
  Capture* outer;
  Text text;
  size_t charged_bytes = 0;
};

Interpreter::Interpreter(const Program& program, Budget& budget)
    : program_(program), budget_(budget), scope_(std::make_shared<Scope>()) {
  const auto functions = all_functions();
  for (size_t i = 0; i < functions.size(); i++) define(functions[i].name, Value::function(i));
}

void Interpreter::define(std::string_view name, const Value& value) {
  const auto found = std::find(program_.names.begin(), program_.names.end(), name);
  if (found == program_.names.end()) return;
  scope_->set(static_cast<NameId>(found - program_.names.begin()), value);
}

Result<Text> Interpreter::run() {
  push_scope();  // the template's own variables hide inputs but do not replace them
  auto text = capture(program_.body);
  pop_scope();
  return text;
}

Result<Text> Interpreter::capture(const Body& body) {
  Capture capture(*this);
  HADAL_TRY_VOID(execute(body));
  return std::move(capture.text);
}

Status Interpreter::emit(const Text& text) {
  Capture& capture = *output_;
  if (capture.text.size() + text.size() > budget_.limits().output_bytes_max) {
    return fail("the template's output is too long (limit: {} bytes)",
                budget_.limits().output_bytes_max);
  }
  HADAL_TRY_VOID(budget_.step_for_bytes(text.size()));
  HADAL_TRY_VOID(budget_.charge(text.memory_bytes()));
  capture.charged_bytes += text.memory_bytes();
  capture.text.append(text);
  return {};
}

void Interpreter::push_scope() {
  auto scope = std::make_shared<Scope>();
  scope->parent = std::move(scope_);
  scope_ = std::move(scope);
}

Result<Interpreter::Flow> Interpreter::execute(const Body& body) {
  for (const Statement& statement : body) {
    HADAL_TRY(const Flow flow, execute(statement));
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Result<Interpreter::Flow> Interpreter::execute(const Statement& statement) {
  HADAL_TRY_VOID(budget_.step());
  const Depth depth(*this);
  HADAL_TRY_VOID(depth.check());
  line_ = statement.line;
  switch (statement.kind) {
    case StatementKind::text:
      HADAL_TRY_VOID(emit(statement.text));
      return Flow::normal;
    case StatementKind::output: {
      HADAL_TRY(const Value value, evaluate(*statement.value));
      if (value.is_string()) {
        HADAL_TRY_VOID(emit(value.text()));
      } else {
        HADAL_TRY(const Text text, to_text(budget_, value));
        HADAL_TRY_VOID(emit(text));
      }
      return Flow::normal;
    }
    case StatementKind::if_:
      return execute_if(statement);
    case StatementKind::for_:
      return execute_for(statement);
    case StatementKind::with:
      return execute_with(statement);
    case StatementKind::scope: {
      push_scope();
      auto flow = execute(statement.body);
      pop_scope();
      return flow;
    }
    case StatementKind::break_:
      return Flow::break_;
    case StatementKind::continue_:
      return Flow::continue_;
    case StatementKind::set:
      HADAL_TRY_VOID(execute_set(statement));
      return Flow::normal;
    case StatementKind::set_block:
      HADAL_TRY_VOID(execute_set_block(statement));
      return Flow::normal;
    case StatementKind::macro: {
      HADAL_TRY(Value macro, make_macro(statement));
      scope_->set(statement.target.name, std::move(macro));
      return Flow::normal;
    }
    case StatementKind::call_block:
      HADAL_TRY_VOID(execute_call_block(statement));
      return Flow::normal;
    case StatementKind::filter_block:
      HADAL_TRY_VOID(execute_filter_block(statement));
      return Flow::normal;
  }
  return Flow::normal;
}

Result<Interpreter::Flow> Interpreter::execute_if(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition) {
      HADAL_TRY(const Value condition, evaluate(*branch.condition));
      if (!truth(condition)) continue;
    }
    return execute(branch.body);
  }
  return Flow::normal;
}

Result<Interpreter::Flow> Interpreter::execute_with(const Statement& statement) {
  std::vector<Value> values;  // all are evaluated before the first is assigned
  for (const auto& [target, expression] : statement.assignments) {
    HADAL_TRY(Value value, evaluate(*expression));
    values.push_back(std::move(value));
  }
  push_scope();
  Result<Flow> flow = Flow::normal;
  for (size_t i = 0; i < values.size() && flow; i++) {
    const Status assigned = assign(statement.assignments[i].first, values[i]);
    if (!assigned) flow = forward_error(assigned);
  }
  if (flow) flow = execute(statement.body);
  pop_scope();
  return flow;
}

Status Interpreter::execute_set(const Statement& statement) {
  HADAL_TRY(const Value value, evaluate(*statement.value));
  return assign(statement.target, value);
}

Status Interpreter::execute_set_block(const Statement& statement) {
  push_scope();
  auto text = capture(statement.body);
  pop_scope();
  if (!text) return forward_error(text);
  HADAL_TRY(Value value, string(std::move(*text)));
  if (statement.value) {
    HADAL_TRY(value, apply_filters(*statement.value, value));
  }
  return assign(statement.target, value);
}

Status Interpreter::execute_filter_block(const Statement& statement) {
  push_scope();
  auto text = capture(statement.body);
  pop_scope();
  if (!text) return forward_error(text);
  HADAL_TRY(const Value value, string(std::move(*text)));
  HADAL_TRY(const Value filtered, apply_filters(*statement.value, value));
  HADAL_TRY(const Text output, to_text(budget_, filtered));
  return emit(output);
}

Status Interpreter::execute_call_block(const Statement& statement) {
  HADAL_TRY(const Value caller, make_macro(statement));
  const Expression& call_expression = *statement.value;
  HADAL_TRY(const Value callee, evaluate(*call_expression.operands[0]));
  HADAL_TRY(Arguments arguments, evaluate_arguments(call_expression.arguments.get()));
  arguments.named.emplace_back("caller", caller);
  HADAL_TRY(const Value result, call(callee, arguments));
  HADAL_TRY(const Text text, to_text(budget_, result));
  return emit(text);
}

Status Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    if (!is_iterable(value)) return fail("a {} cannot be unpacked", type_name(value));
    HADAL_TRY(const std::vector<Value> items, iterate(budget_, value));
    if (items.size() != target.items.size()) {
      return fail("{} values cannot be unpacked into {} names", items.size(), target.items.size());
    }
    for (size_t i = 0; i < items.size(); i++) HADAL_TRY_VOID(assign(target.items[i], items[i]));
    return {};
  }
  if (target.attribute.empty()) {
    scope_->set(target.name, value);
    return {};
  }
  const Value* object = scope_->find(target.name);
  if (object == nullptr || !object->is(Kind::name_space)) {
    return fail("'{}' is no namespace: only a namespace's attributes can be assigned to",
                program_.names[target.name]);
  }
  return object->name_space().set(target.attribute, value);
}

// --- loops ---

Result<Interpreter::Flow> Interpreter::execute_for(const Statement& statement) {
  HADAL_TRY(const Value iterable, evaluate(*statement.value));
  return run_loop(statement, iterable, 0);
}

Result<Interpreter::Flow> Interpreter::run_loop(const Statement& statement, const Value& iterable,
                                                int64_t depth0) {
  auto loop = std::make_shared<LoopObject>();
  HADAL_TRY(loop->items, iterate(budget_, iterable));
  HADAL_TRY_VOID(account(*loop, &budget_, sizeof(LoopObject) + loop->items.size() * sizeof(Value),
                         iterable.depth()));
  loop->statement = &statement;
  loop->outside = scope_;
  loop->filtered = !statement.condition;
  loop->depth0 = depth0;
  if (loop->filtered && !iterable.is(Kind::iterator)) loop->length = loop->items.size();
  const Value loop_value(Kind::loop, loop);
  auto flow = run_turns(*loop, loop_value);
  loop->changed.reset();  // may hold the loop itself
  if (!flow) return flow;
  if (!loop->turn_completed) {
    push_scope();
    flow = execute(statement.otherwise);
    pop_scope();
  }
  return flow;
}

Result<Interpreter::Flow> Interpreter::run_turns(LoopObject& loop, const Value& loop_value) {
  while (true) {
    HADAL_TRY_VOID(budget_.step());
    std::optional<Value> item = std::exchange(loop.peeked, std::nullopt);
    if (!item) {
      HADAL_TRY(item, pull(loop));
    }
    if (!item) return Flow::normal;
    loop.index0++;
    loop.previous = std::exchange(loop.current, *item);
    push_scope();
    scope_->set(kLoopName, loop_value);
    const Status assigned = assign(loop.statement->target, *item);
    Result<Flow> flow = Flow::normal;
    if (!assigned) {
      flow = forward_error(assigned);
    } else {
      flow = execute(loop.statement->body);
    }
    pop_scope();
    if (!flow) return flow;
    if (*flow == Flow::break_) return Flow::normal;
    if (*flow == Flow::normal) loop.turn_completed = true;
  }
}

Result<std::optional<Value>> Interpreter::pull(LoopObject& loop) {
  while (loop.next_item < loop.items.size()) {
    Value item = loop.items[loop.next_item++];
    if (loop.filtered) return item;
    HADAL_TRY_VOID(budget_.step());
    const std::shared_ptr<Scope> inside = std::exchange(scope_, loop.outside);
    push_scope();
    Result<Value> condition = Value();
    if (const Status assigned = assign(loop.statement->target, item); !assigned) {
      condition = forward_error(assigned);
    } else {
      condition = evaluate(*loop.statement->condition);
    }
    scope_ = inside;
    if (!condition) return forward_error(condition);
    if (truth(*condition)) return item;
  }
  return std::optional<Value>();
}

Result<bool> Interpreter::peek(LoopObject& loop) {
  if (!loop.peeked) {
    HADAL_TRY(loop.peeked, pull(loop));
  }
  return loop.peeked.has_value();
}

Result<Value> Interpreter::call_loop(LoopObject& loop, const Arguments& arguments) {
  if (!loop.statement->recursive) {
    return fail("the loop is called, but is not marked 'recursive'");
  }
  HADAL_TRY(const Bound bound, Bound::bind("loop", arguments, {"iterable"}, 1));
  if (!is_iterable(bound[0])) return fail("a {} cannot be iterated over", type_name(bound[0]));
  const std::shared_ptr<Scope> inside = std::exchange(scope_, loop.outside);
  Result<Text> text = Text();
  {
    Capture capture(*this);
    const auto flow = run_loop(*loop.statement, bound[0], loop.depth0 + 1);
    if (flow) {
      text = std::move(capture.text);
    } else {
      text = forward_error(flow);
    }
  }
  scope_ = inside;
  if (!text) return forward_error(text);
  return string(std::move(*text));
}

// --- macros ---

Result<Value> Interpreter::make_macro(const Statement& statement) {
  auto macro = std::make_shared<MacroObject>();
  HADAL_TRY_VOID(account(*macro, &budget_, sizeof(MacroObject), 0));
  macro->signature = statement.signature.get();
  macro->body = &statement.body;
  macro->scope = scope_;
  return Value(Kind::macro, std::move(macro));
}

namespace {

// Takes the named argument out, if it is there.
std::optional<Value> take_named(Arguments& arguments, std::string_view name) {
  for (auto entry = arguments.named.begin(); entry != arguments.named.end(); ++entry) {
    if (entry->first != name) continue;
    Value value = std::move(entry->second);
    arguments.named.erase(entry);
    return value;
  }
  return std::nullopt;
}

}  // namespace

Result<Value> Interpreter::call_macro(const MacroObject& macro, const Arguments& given) {
  const Depth depth(*this);  // a call takes more of the stack than an operator
  HADAL_TRY_VOID(depth.check());
  const Signature& signature = *macro.signature;
  std::shared_ptr<Scope> around = macro.scope.lock();
  if (!around) {
    return fail("the macro '{}' is called after the block it was defined in", signature.name);
  }
  Arguments arguments = given;
  auto scope = std::make_shared<Scope>();
  scope->parent = std::move(around);
  const std::shared_ptr<Scope> caller_scope = std::exchange(scope_, scope);
  const auto run = [&]() -> Result<Value> {
    for (size_t i = 0; i < signature.parameters.size(); i++) {
      const Parameter& parameter = signature.parameters[i];
      const std::string& name = program_.names[parameter.name];
      std::optional<Value> value;
      if (i < arguments.positional.size()) {
        value = arguments.positional[i];
      } else {
        value = take_named(arguments, name);
      }
      if (!value && parameter.fallback) {
        HADAL_TRY(value, evaluate(*parameter.fallback));
      }
      if (!value) value = make_undefined(fmt::format("parameter '{}' was not provided", name));
      scope->set(parameter.name, *value);
    }
    if (signature.takes_caller) {
      std::optional<Value> caller = take_named(arguments, "caller");
      scope->set(kCallerName, caller ? *caller : make_undefined("No caller defined"));
    }
    if (signature.takes_more_named) {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [name, value] : arguments.named) {
        HADAL_TRY(Value key, string(Text::trusted(name)));
        entries.emplace_back(std::move(key), value);
      }
      HADAL_TRY(Value more, make_dict(&budget_, std::move(entries)));
      scope->set(kKwargsName, std::move(more));
    } else if (!arguments.named.empty()) {
      return fail("macro '{}' takes no argument '{}'", signature.name, arguments.named[0].first);
    }
    const size_t used = std::min(signature.parameters.size(), arguments.positional.size());
    std::vector<Value> rest(arguments.positional.begin() + static_cast<ptrdiff_t>(used),
                            arguments.positional.end());
    if (signature.takes_more_positional) {
      HADAL_TRY(Value more, make_tuple(&budget_, std::move(rest)));
      scope->set(kVarargsName, std::move(more));
    } else if (!rest.empty()) {
      return fail("macro '{}' takes not more than {} arguments", signature.name, used);
    }
    HADAL_TRY(Text text, capture(*macro.body));
    return string(std::move(text));
  };
  Result<Value> result = run();
  scope_ = caller_scope;
  return result;
}

// --- scopes ---

const Value* Scope::find(NameId name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    for (const auto& [id, value] : scope->variables) {
      if (id == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(NameId name, Value value) {
  for (auto& [id, old] : variables) {
    if (id == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

}  // namespace hadal::jinja
