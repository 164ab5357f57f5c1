// Runs a template's syntax tree. One Interpreter is one rendering; it lives on one thread and dies
// with its values.
#pragma once

#include <array>
#include <cstddef>
#include <ctime>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/template/jinja_budget.h"
#include "text/template/jinja_syntax.h"
#include "text/template/jinja_value.h"

namespace hadal::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Arguments matched to parameter names, as Python does. Points into the Arguments it was made from.
class Bound {
 public:
  static constexpr size_t kParametersMax = 5;
  static Result<Bound> bind(std::string_view callee, const Arguments& arguments,
                            std::initializer_list<std::string_view> names, size_t required = 0);

  bool has(size_t parameter) const { return values_[parameter] != nullptr; }
  // Absent or none.
  bool is_none(size_t parameter) const { return !has(parameter) || values_[parameter]->is_none(); }
  const Value& operator[](size_t parameter) const { return *values_[parameter]; }  // has(parameter)
  bool truth_or(size_t parameter, bool fallback) const;
  Result<int64_t> integer_or(size_t parameter, int64_t fallback) const;

 private:
  std::array<const Value*, kParametersMax> values_ = {};
};

// A block's variables. Scopes point to the one around them; a macro points weakly to the one it was
// defined in.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<NameId, Value>> variables;

  const Value* find(NameId name) const;  // here and outwards
  void set(NameId name, Value value);    // here
};

struct MacroObject : Object {
  const Signature* signature = nullptr;
  const Body* body = nullptr;
  std::weak_ptr<Scope> scope;
};

struct LoopObject : Object {
  const Statement* statement = nullptr;
  std::shared_ptr<Scope> outside;  // where the loop's own condition is evaluated
  std::vector<Value> items;
  size_t next_item = 0;
  bool filtered = false;  // the remaining items have passed the condition already
  std::optional<size_t> length;
  std::optional<Value> peeked, current, previous;
  std::optional<std::vector<Value>> changed;  // what loop.changed() saw last
  int64_t index0 = -1;
  bool turn_completed = false;  // jinja2's `else` also runs when every turn was cut short
  int64_t depth0 = 0;
};

class Interpreter {
 public:
  Interpreter(const Program& program, Budget& budget);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // An input, visible everywhere; names that the template does not mention are dropped.
  void define(std::string_view name, const Value& value);
  void set_local_time(const std::optional<std::tm>& time) { local_time_ = time; }

  Result<Text> run();
  uint32_t line() const { return line_; }  // of what was evaluated last: where an error came from

  // --- for the built-in functions ---
  Budget& budget() { return budget_; }
  const std::optional<std::tm>& local_time() const { return local_time_; }
  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<Value> filter(std::string_view name, const Value& value, const Arguments& arguments);
  Result<bool> test(std::string_view name, const Value& value, const Arguments& arguments);
  Result<Value> item(const Value& object, const Value& key);            // object[key]
  Result<Value> attribute(const Value& object, std::string_view name);  // object.name
  Result<Value> make_namespace(std::vector<std::pair<std::string, Value>> attributes);
  Result<Value> string(Text text) { return make_string(&budget_, std::move(text)); }
  // The next item of a loop that passes its condition; none at the end.
  Result<std::optional<Value>> pull(LoopObject& loop);
  Result<bool> peek(LoopObject& loop);  // fills loop.peeked if there is one more

 private:
  enum class Flow : uint8_t { normal, break_, continue_ };
  struct Capture;
  class Depth {  // one more call inside another, until the end of the block
   public:
    explicit Depth(Interpreter& interpreter) : interpreter_(interpreter) { interpreter.depth_++; }
    ~Depth() { interpreter_.depth_--; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    Status check() const;

   private:
    Interpreter& interpreter_;
  };

  // --- statements (jinja_interpreter.cpp) ---
  Result<Flow> execute(const Body& body);
  Result<Flow> execute(const Statement& statement);
  Result<Flow> execute_if(const Statement& statement);
  Result<Flow> execute_for(const Statement& statement);
  Result<Flow> execute_with(const Statement& statement);
  Status execute_set(const Statement& statement);
  Status execute_set_block(const Statement& statement);
  Status execute_filter_block(const Statement& statement);
  Status execute_call_block(const Statement& statement);
  Result<Flow> run_loop(const Statement& statement, const Value& iterable, int64_t depth0);
  Result<Flow> run_turns(LoopObject& loop, const Value& loop_value);
  Result<Text> capture(const Body& body);
  Result<Value> make_macro(const Statement& statement);
  Result<Value> call_macro(const MacroObject& macro, const Arguments& arguments);
  Result<Value> call_loop(LoopObject& loop, const Arguments& arguments);
  Status assign(const Target& target, const Value& value);
  Status emit(const Text& text);
  void push_scope();
  void pop_scope() { scope_ = scope_->parent; }

  // --- expressions (jinja_evaluate.cpp) ---
  Result<Value> evaluate(const Expression& expression);
  Result<Value> evaluate_node(const Expression& expression);
  Result<Value> evaluate_name(const Expression& expression);
  Result<Value> evaluate_sequence(const Expression& expression);
  Result<Value> evaluate_dict(const Expression& expression);
  Result<Value> evaluate_arithmetic(const Expression& expression);
  Result<Value> evaluate_compare(const Expression& expression);
  Result<Value> evaluate_concat(const Expression& expression);
  Result<Value> evaluate_logical(const Expression& expression);
  Result<Value> evaluate_conditional(const Expression& expression);
  Result<Value> evaluate_slice(const Expression& expression);
  Result<Value> evaluate_call(const Expression& expression);
  Result<Value> evaluate_filter(const Expression& expression, const Value& value);
  Result<Value> evaluate_test(const Expression& expression);
  Result<Arguments> evaluate_arguments(const CallArguments* arguments);
  // The filters of a block, applied to its text.
  Result<Value> apply_filters(const Expression& chain, const Value& value);
  Result<Value> loop_attribute(LoopObject& loop, const Value& self, std::string_view name);
  Result<size_t> loop_length(LoopObject& loop);

  const Program& program_;
  Budget& budget_;
  std::optional<std::tm> local_time_;
  std::shared_ptr<Scope> scope_;
  Capture* output_ = nullptr;
  std::vector<std::unique_ptr<NamespaceObject>> namespaces_;
  size_t depth_ = 0;
  uint32_t line_ = 1;
};

// --- the built-in names (jinja_filters.cpp, jinja_sequence_filters.cpp, jinja_tests.cpp,
// jinja_methods.cpp, ...) ---

struct FilterEntry {
  std::string_view name;
  Result<Value> (*apply)(Interpreter&, const Value& value, const Arguments&);
};
struct TestEntry {
  std::string_view name;
  Result<bool> (*apply)(Interpreter&, const Value& value, const Arguments&);
};
struct FunctionEntry {
  std::string_view name;
  Result<Value> (*call)(Interpreter&, const Arguments&);
};
std::span<const FilterEntry> text_filters();
std::span<const FilterEntry> sequence_filters();
std::span<const TestEntry> all_tests();
std::span<const FunctionEntry> all_functions();
const FilterEntry* find_filter(std::string_view name);
const TestEntry* find_test(std::string_view name);
const MethodEntry* find_method(Kind kind, std::string_view name);
std::span<const MethodEntry> string_methods();
std::span<const MethodEntry> container_methods(Kind kind);  // list, tuple, dict, range, loop
bool is_mutating_method(Kind kind, std::string_view name);  // list.append, ...: refused

}  // namespace hadal::jinja
