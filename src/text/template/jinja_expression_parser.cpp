#include <algorithm>
#include <optional>

#include "text/template/jinja_parser.h"

namespace hadal::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::end:
      return "the end of the template";
    case TokenKind::text:
      return "text";
    case TokenKind::output_end:
      return "'}}'";
    case TokenKind::block_end:
      return "'%}'";
    case TokenKind::integer:
      return fmt::format("'{}'", token.integer);
    case TokenKind::floating:
      return "a number";
    case TokenKind::string:
      return "a string";
    default:
      return fmt::format("'{}'", token.text.substr(0, 40));
  }
}

struct BinaryOperator {
  std::string_view symbol;
  int precedence;
  Operator op;
};
// Jinja's: ~ binds tighter than + and looser than *; ** is left-associative.
constexpr int kConcatPrecedence = 2;
constexpr int kUnaryPrecedence = 5;
constexpr BinaryOperator kBinaryOperators[] = {
    {"+", 1, Operator::add},      {"-", 1, Operator::subtract}, {"~", 2, Operator::add},
    {"*", 3, Operator::multiply}, {"/", 3, Operator::divide},   {"//", 3, Operator::floor_divide},
    {"%", 3, Operator::modulo},   {"**", 4, Operator::power},
};
struct Comparison {
  std::string_view symbol;
  Operator op;
};
constexpr Comparison kComparisons[] = {
    {"==", Operator::equal},  {"!=", Operator::not_equal},
    {"<", Operator::less},    {"<=", Operator::less_or_equal},
    {">", Operator::greater}, {">=", Operator::greater_or_equal},
};

}  // namespace

ExpressionParser::ExpressionParser(std::vector<Token> tokens, const TemplateLimits& limits)
    : limits_(limits), tokens_(std::move(tokens)) {
  for (const std::string_view name : {"loop", "caller", "varargs", "kwargs"}) intern(name);
}

Result<ExpressionPtr> ExpressionParser::tuple_or_expression(Conditional conditional) {
  std::vector<ExpressionPtr> items;
  const auto at_end = [&] {
    return current().kind == TokenKind::output_end || current().kind == TokenKind::block_end ||
           at_symbol(")");
  };
  bool comma = false;
  while (!at_end()) {
    HADAL_TRY(ExpressionPtr item, expression(conditional));
    items.push_back(std::move(item));
    if (!skip_symbol(",")) break;
    comma = true;
  }
  if (items.empty()) return unexpected_token("an expression");
  if (!comma) return std::move(items[0]);
  return checked(make(ExpressionKind::tuple, std::move(items)));
}

Result<ExpressionPtr> ExpressionParser::expression(Conditional conditional) {
  HADAL_TRY_VOID(enter());
  const Nesting nesting(*this);
  HADAL_TRY(ExpressionPtr value, logical_or());
  while (conditional == Conditional::yes && skip_word("if")) {
    std::vector<ExpressionPtr> operands;
    operands.push_back(std::move(value));
    HADAL_TRY(ExpressionPtr condition, logical_or());
    operands.push_back(std::move(condition));
    if (skip_word("else")) {
      HADAL_TRY(ExpressionPtr otherwise, expression());
      operands.push_back(std::move(otherwise));
    }
    HADAL_TRY(value, checked(make(ExpressionKind::conditional, std::move(operands))));
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::logical_or() {
  std::vector<ExpressionPtr> operands;
  do {
    HADAL_TRY(ExpressionPtr operand, logical_and());
    operands.push_back(std::move(operand));
  } while (skip_word("or"));
  if (operands.size() == 1) return std::move(operands[0]);
  return checked(make(ExpressionKind::logical_or, std::move(operands)));
}

Result<ExpressionPtr> ExpressionParser::logical_and() {
  std::vector<ExpressionPtr> operands;
  do {
    HADAL_TRY(ExpressionPtr operand, logical_not());
    operands.push_back(std::move(operand));
  } while (skip_word("and"));
  if (operands.size() == 1) return std::move(operands[0]);
  return checked(make(ExpressionKind::logical_and, std::move(operands)));
}

Result<ExpressionPtr> ExpressionParser::logical_not() {
  size_t negations = 0;
  while (skip_word("not")) negations++;
  HADAL_TRY(ExpressionPtr operand, comparison());
  // "not not x" is the truth of x: two nodes say as much as any number.
  if (negations > 2) negations = 2 - negations % 2;
  for (; negations > 0; negations--) {
    std::vector<ExpressionPtr> operands;
    operands.push_back(std::move(operand));
    HADAL_TRY(operand, checked(make(ExpressionKind::logical_not, std::move(operands))));
  }
  return operand;
}

Result<ExpressionPtr> ExpressionParser::comparison() {
  std::vector<ExpressionPtr> operands;
  std::vector<Operator> operators;
  while (true) {
    HADAL_TRY(ExpressionPtr operand, binary(1));
    operands.push_back(std::move(operand));
    const auto found =
        std::find_if(std::begin(kComparisons), std::end(kComparisons),
                     [&](const Comparison& comparison) { return at_symbol(comparison.symbol); });
    if (found != std::end(kComparisons)) {
      advance();
      operators.push_back(found->op);
    } else if (skip_word("in")) {
      operators.push_back(Operator::in);
    } else if (at_word("not") && next().kind == TokenKind::name && next().text == "in") {
      advance();
      advance();
      operators.push_back(Operator::not_in);
    } else {
      break;
    }
  }
  if (operators.empty()) return std::move(operands[0]);
  ExpressionPtr result = make(ExpressionKind::compare, std::move(operands));
  result->operators = std::move(operators);
  return checked(std::move(result));
}

// Left-associative operators of one precedence become one flat node, however long the chain.
Result<ExpressionPtr> ExpressionParser::binary(int precedence) {
  if (precedence == kUnaryPrecedence) return unary(true);
  std::vector<ExpressionPtr> operands;
  std::vector<Operator> operators;
  while (true) {
    HADAL_TRY(ExpressionPtr operand, binary(precedence + 1));
    operands.push_back(std::move(operand));
    const auto found = std::find_if(
        std::begin(kBinaryOperators), std::end(kBinaryOperators), [&](const BinaryOperator& entry) {
          return entry.precedence == precedence && at_symbol(entry.symbol);
        });
    if (found == std::end(kBinaryOperators)) break;
    advance();
    operators.push_back(found->op);
  }
  if (operators.empty()) return std::move(operands[0]);
  const bool concat = precedence == kConcatPrecedence;
  ExpressionPtr result =
      make(concat ? ExpressionKind::concat : ExpressionKind::arithmetic, std::move(operands));
  result->operators = std::move(operators);
  return checked(std::move(result));
}

Result<ExpressionPtr> ExpressionParser::unary(bool with_filters) {
  ExpressionPtr operand;
  if (at_symbol("-") || at_symbol("+")) {
    HADAL_TRY_VOID(enter());
    const Nesting nesting(*this);
    const auto kind = at_symbol("-") ? ExpressionKind::negative : ExpressionKind::positive;
    advance();
    std::vector<ExpressionPtr> operands;
    HADAL_TRY(ExpressionPtr inner, unary(false));
    operands.push_back(std::move(inner));
    HADAL_TRY(operand, checked(make(kind, std::move(operands))));
  } else {
    HADAL_TRY(operand, primary());
  }
  HADAL_TRY(operand, postfix(std::move(operand)));
  if (!with_filters) return operand;
  while (true) {
    if (at_symbol("|")) {
      HADAL_TRY(operand, filters(std::move(operand)));
    } else if (at_word("is")) {
      HADAL_TRY(operand, test(std::move(operand)));
    } else if (at_symbol("(")) {
      HADAL_TRY(operand, call(std::move(operand)));
    } else {
      return operand;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::primary() {
  const Token& token = current();
  ExpressionPtr result = make(ExpressionKind::constant);
  switch (token.kind) {
    case TokenKind::name: {
      const std::string& name = token.text;
      if (name == "true" || name == "True") {
        result->constant = Value::boolean(true);
      } else if (name == "false" || name == "False") {
        result->constant = Value::boolean(false);
      } else if (name == "none" || name == "None") {
        result->constant = Value::none();
      } else {
        result->kind = ExpressionKind::name;
        result->name = intern(name);
        names_read_[result->name] = true;
      }
      advance();
      return result;
    }
    case TokenKind::string: {
      std::string text;
      for (; current().kind == TokenKind::string; advance()) text += current().text;
      HADAL_TRY(result->constant, make_string(nullptr, Text(std::move(text), Trust::trusted)));
      return result;
    }
    case TokenKind::integer:
      result->constant = Value::integer(token.integer);
      advance();
      return result;
    case TokenKind::floating:
      result->constant = Value::floating(token.floating);
      advance();
      return result;
    default:
      break;
  }
  if (at_symbol("(")) return parenthesized();
  if (at_symbol("[")) return list_literal();
  if (at_symbol("{")) return dict_literal();
  return unexpected_token("an expression");
}

Result<ExpressionPtr> ExpressionParser::parenthesized() {
  advance();
  if (skip_symbol(")")) return make(ExpressionKind::tuple);
  HADAL_TRY(ExpressionPtr inner, tuple_or_expression(Conditional::yes));
  HADAL_TRY_VOID(expect_symbol(")"));
  return inner;
}

Result<ExpressionPtr> ExpressionParser::list_literal() {
  advance();
  std::vector<ExpressionPtr> items;
  while (!at_symbol("]")) {
    HADAL_TRY(ExpressionPtr item, expression());
    items.push_back(std::move(item));
    if (!skip_symbol(",")) break;
  }
  HADAL_TRY_VOID(expect_symbol("]"));
  return checked(make(ExpressionKind::list, std::move(items)));
}

Result<ExpressionPtr> ExpressionParser::dict_literal() {
  advance();
  std::vector<ExpressionPtr> entries;
  while (!at_symbol("}")) {
    HADAL_TRY(ExpressionPtr key, expression());
    HADAL_TRY_VOID(expect_symbol(":"));
    HADAL_TRY(ExpressionPtr value, expression());
    entries.push_back(std::move(key));
    entries.push_back(std::move(value));
    if (!skip_symbol(",")) break;
  }
  HADAL_TRY_VOID(expect_symbol("}"));
  return checked(make(ExpressionKind::dict, std::move(entries)));
}

Result<ExpressionPtr> ExpressionParser::postfix(ExpressionPtr operand) {
  while (true) {
    if (at_symbol(".")) {
      advance();
      std::vector<ExpressionPtr> operands;
      operands.push_back(std::move(operand));
      if (current().kind == TokenKind::name) {
        operand = make(ExpressionKind::attribute, std::move(operands));
        operand->text = current().text;
      } else if (current().kind == TokenKind::integer) {
        ExpressionPtr index = make(ExpressionKind::constant);
        index->constant = Value::integer(current().integer);
        operands.push_back(std::move(index));
        operand = make(ExpressionKind::subscript, std::move(operands));
      } else {
        return unexpected_token("a name or a number after '.'");
      }
      advance();
      HADAL_TRY(operand, checked(std::move(operand)));
    } else if (at_symbol("[")) {
      HADAL_TRY(operand, subscript(std::move(operand)));
    } else if (at_symbol("(")) {
      HADAL_TRY(operand, call(std::move(operand)));
    } else {
      return operand;
    }
  }
}

// A bound of a slice: null where it is left out.
Result<ExpressionPtr> ExpressionParser::slice_bound() {
  if (at_symbol(":") || at_symbol("]") || at_symbol(",")) return ExpressionPtr();
  return expression();
}

Result<ExpressionPtr> ExpressionParser::subscript(ExpressionPtr operand) {
  advance();
  std::vector<ExpressionPtr> operands;
  operands.push_back(std::move(operand));
  HADAL_TRY(ExpressionPtr first, slice_bound());
  if (!at_symbol(":")) {
    if (!first) return unexpected_token("an index");
    if (at_symbol(",")) {
      std::vector<ExpressionPtr> items;
      items.push_back(std::move(first));
      while (skip_symbol(",")) {
        HADAL_TRY(ExpressionPtr item, expression());
        items.push_back(std::move(item));
      }
      first = make(ExpressionKind::tuple, std::move(items));
    }
    HADAL_TRY_VOID(expect_symbol("]"));
    operands.push_back(std::move(first));
    return checked(make(ExpressionKind::subscript, std::move(operands)));
  }
  operands.push_back(std::move(first));
  for (int bound = 0; bound < 2; bound++) {
    ExpressionPtr value;
    if (skip_symbol(":")) {
      HADAL_TRY(value, slice_bound());
    }
    operands.push_back(std::move(value));
  }
  HADAL_TRY_VOID(expect_symbol("]"));
  return checked(make(ExpressionKind::slice, std::move(operands)));
}

Result<ExpressionPtr> ExpressionParser::call(ExpressionPtr callee) {
  std::vector<ExpressionPtr> operands;
  operands.push_back(std::move(callee));
  ExpressionPtr result = make(ExpressionKind::call, std::move(operands));
  HADAL_TRY(result->arguments, call_arguments());
  return checked(std::move(result));
}

Result<std::unique_ptr<CallArguments>> ExpressionParser::call_arguments() {
  auto arguments = std::make_unique<CallArguments>();
  advance();
  while (!at_symbol(")")) {
    HADAL_TRY_VOID(call_argument(*arguments));
    if (!skip_symbol(",")) break;
  }
  HADAL_TRY_VOID(expect_symbol(")"));
  return arguments;
}

Status ExpressionParser::call_argument(CallArguments& arguments) {
  if (arguments.more_named) return fail("line {}: nothing may follow '**'", current().line);
  if (skip_symbol("**")) {
    HADAL_TRY(arguments.more_named, expression());
    return {};
  }
  if (current().kind == TokenKind::name && next().kind == TokenKind::symbol && next().text == "=") {
    std::string name = current().text;
    advance();
    advance();
    HADAL_TRY(ExpressionPtr value, expression());
    arguments.named.emplace_back(std::move(name), std::move(value));
    return {};
  }
  if (arguments.more_positional) {
    return fail("line {}: only named values may follow '*'", current().line);
  }
  if (skip_symbol("*")) {
    HADAL_TRY(arguments.more_positional, expression());
    return {};
  }
  if (!arguments.named.empty()) {
    return fail("line {}: a value without a name follows a named one", current().line);
  }
  HADAL_TRY(ExpressionPtr value, expression());
  arguments.positional.push_back(std::move(value));
  return {};
}

Result<std::string> ExpressionParser::dotted_name() {
  HADAL_TRY(std::string name, expect_name());
  while (skip_symbol(".")) {
    HADAL_TRY(const std::string part, expect_name());
    name += "." + part;
  }
  return name;
}

Result<ExpressionPtr> ExpressionParser::filters(ExpressionPtr operand) {
  while (skip_symbol("|")) {
    HADAL_TRY(operand, filter(std::move(operand)));
  }
  return operand;
}

Result<ExpressionPtr> ExpressionParser::filter(ExpressionPtr operand) {
  std::vector<ExpressionPtr> operands;
  operands.push_back(std::move(operand));
  ExpressionPtr result = make(ExpressionKind::filter, std::move(operands));
  HADAL_TRY(result->text, dotted_name());
  if (at_symbol("(")) {
    HADAL_TRY(result->arguments, call_arguments());
  }
  return checked(std::move(result));
}

Result<ExpressionPtr> ExpressionParser::test(ExpressionPtr operand) {
  advance();
  const bool negated = skip_word("not");
  std::vector<ExpressionPtr> operands;
  operands.push_back(std::move(operand));
  ExpressionPtr result = make(ExpressionKind::test, std::move(operands));
  HADAL_TRY(result->text, dotted_name());
  const Token& token = current();
  const bool word = token.kind == TokenKind::name && token.text != "else" && token.text != "or" &&
                    token.text != "and";
  const bool literal = token.kind == TokenKind::string || token.kind == TokenKind::integer ||
                       token.kind == TokenKind::floating || at_symbol("[") || at_symbol("{");
  if (at_symbol("(")) {
    HADAL_TRY(result->arguments, call_arguments());
  } else if (word || literal) {
    if (at_word("is")) return fail("line {}: tests cannot be chained with 'is'", token.line);
    HADAL_TRY(ExpressionPtr argument, primary());
    HADAL_TRY(argument, postfix(std::move(argument)));
    result->arguments = std::make_unique<CallArguments>();
    result->arguments->positional.push_back(std::move(argument));
  }
  HADAL_TRY(result, checked(std::move(result)));
  if (!negated) return result;
  std::vector<ExpressionPtr> positive;
  positive.push_back(std::move(result));
  return checked(make(ExpressionKind::logical_not, std::move(positive)));
}

// --- the token stream ---

bool ExpressionParser::skip_symbol(std::string_view symbol) {
  if (!at_symbol(symbol)) return false;
  advance();
  return true;
}

bool ExpressionParser::skip_word(std::string_view word) {
  if (!at_word(word)) return false;
  advance();
  return true;
}

Status ExpressionParser::expect_symbol(std::string_view symbol) {
  if (!skip_symbol(symbol)) return unexpected_token(fmt::format("'{}'", symbol));
  return {};
}

Status ExpressionParser::expect(TokenKind kind, std::string_view what) {
  if (current().kind != kind) return unexpected_token(what);
  advance();
  return {};
}

Result<std::string> ExpressionParser::expect_name() {
  if (current().kind != TokenKind::name) return unexpected_token("a name");
  std::string name = current().text;
  advance();
  return name;
}

tl::unexpected<Error> ExpressionParser::unexpected_token(std::string_view wanted) const {
  return fail("line {}: expected {}, found {}", current().line, wanted, describe(current()));
}

NameId ExpressionParser::intern(std::string_view name) {
  const auto [entry, added] =
      name_ids_.try_emplace(std::string(name), static_cast<NameId>(names_.size()));
  if (added) {
    names_.emplace_back(name);
    names_read_.push_back(false);
  }
  return entry->second;
}

ExpressionPtr ExpressionParser::make(ExpressionKind kind,
                                     std::vector<ExpressionPtr> operands) const {
  auto result = std::make_unique<Expression>();
  result->kind = kind;
  result->line = current().line;
  result->operands = std::move(operands);
  return result;
}

Result<ExpressionPtr> ExpressionParser::checked(ExpressionPtr expression) const {
  uint32_t depth = 0;
  const auto look = [&](const ExpressionPtr& child) {
    if (child) depth = std::max(depth, child->depth);
  };
  for (const ExpressionPtr& operand : expression->operands) look(operand);
  if (expression->arguments) {
    for (const ExpressionPtr& value : expression->arguments->positional) look(value);
    for (const auto& [name, value] : expression->arguments->named) look(value);
    look(expression->arguments->more_positional);
    look(expression->arguments->more_named);
  }
  expression->depth = depth + 1;
  if (expression->depth > limits_.nesting_max) {
    return fail("line {}: an expression is nested too deeply (limit: {})", expression->line,
                limits_.nesting_max);
  }
  return expression;
}

Status ExpressionParser::enter() {
  if (nesting_ >= limits_.nesting_max) {
    return fail("line {}: the template is nested too deeply (limit: {})", current().line,
                limits_.nesting_max);
  }
  nesting_++;
  return {};
}

}  // namespace hadal::jinja
