// The syntax tree of a template. Built once by the parser, never changed, walked by the
// interpreter. Its depth is limited by the parser (TemplateLimits::nesting_max), so recursive walks
// are safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/template/jinja_operators.h"
#include "text/template/jinja_value.h"

namespace hadal::jinja {

using NameId = uint32_t;  // index into Program::names

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class ExpressionKind : uint8_t {
  constant,     // constant
  name,         // name
  list,         // [operands]
  tuple,        // (operands)
  dict,         // {operands[0]: operands[1], ...}
  arithmetic,   // operands[0] operators[0] operands[1] operators[1] ... from left to right
  compare,      // the same, chained as in Python: a < b < c
  concat,       // operands joined by ~
  logical_and,  // operands
  logical_or,   // operands
  logical_not,  // operands[0]
  negative,     // -operands[0]
  positive,     // +operands[0]
  conditional,  // operands[0] if operands[1] else operands[2], which may be missing
  attribute,    // operands[0].text
  subscript,    // operands[0][operands[1]]
  slice,        // operands[0][operands[1] : operands[2] : operands[3]], each bound may be null
  call,         // operands[0](arguments)
  filter,       // operands[0]|text(arguments); operands[0] null: the text of a block
  test,         // operands[0] is text(arguments)
};

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional;  // *list
  ExpressionPtr more_named;       // **dict
};

struct Expression {
  ExpressionKind kind = ExpressionKind::constant;
  uint32_t line = 1;
  uint32_t depth = 1;  // of the tree below, itself included
  NameId name = 0;
  Value constant;
  std::string text;
  std::vector<ExpressionPtr> operands;
  std::vector<Operator> operators;
  std::unique_ptr<CallArguments> arguments;
};

// What can stand left of "=": a name, namespace.attribute, or a tuple of these.
struct Target {
  NameId name = 0;
  std::string attribute;      // not empty: of the namespace `name`
  std::vector<Target> items;  // not empty, or is_tuple: unpacked
  bool is_tuple = false;
};

struct Statement;
using Body = std::vector<Statement>;

struct Branch {
  ExpressionPtr condition;  // null: else
  Body body;
};

struct Parameter {
  NameId name = 0;
  ExpressionPtr fallback;  // null: undefined when not given
};

struct Signature {
  std::string name;  // of the macro; "caller" for a call block
  std::vector<Parameter> parameters;
  bool takes_caller = false;           // the body reads `caller`, ...
  bool takes_more_positional = false;  // ... `varargs`, ...
  bool takes_more_named = false;       // ... `kwargs`
};

enum class StatementKind : uint8_t {
  text,          // text
  output,        // {{ value }}
  set,           // {% set target = value %}
  set_block,     // {% set target %}body{% endset %}, value: its filters or null
  if_,           // branches
  for_,          // for target in value if condition: body, otherwise: else
  macro,         // signature, body; assigned to target
  call_block,    // {% call(signature) value %}body{% endcall %}; value is a call
  filter_block,  // value: the filters
  with,          // assignments, body
  scope,         // body with variables of its own ({% generation %}, {% block %})
  break_,
  continue_,
};

struct Statement {
  StatementKind kind = StatementKind::text;
  uint32_t line = 1;
  bool recursive = false;  // for_
  Text text;
  ExpressionPtr value;
  ExpressionPtr condition;
  Target target;
  std::vector<Branch> branches;
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  std::unique_ptr<Signature> signature;
  Body body;
  Body otherwise;
};

// Names the interpreter itself looks up, always interned first and in this order.
enum SpecialName : NameId { kLoopName, kCallerName, kVarargsName, kKwargsName, kSpecialNames };

class Program {
 public:
  static Result<Program> parse(std::string_view source, const TemplateLimits& limits);

  Body body;
  std::vector<std::string> names;
};

}  // namespace hadal::jinja
