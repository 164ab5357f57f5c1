// From tokens to the syntax tree. Two classes: expressions here below, statements
// (jinja_parser.cpp) on top of them.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/template/jinja_lexer.h"
#include "text/template/jinja_syntax.h"

namespace hadal::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const TemplateLimits& limits);

 protected:
  enum class Conditional : bool { no, yes };

  // One expression, or several separated by commas: a tuple.
  Result<ExpressionPtr> tuple_or_expression(Conditional conditional);
  Result<ExpressionPtr> expression(Conditional conditional = Conditional::yes);
  Result<ExpressionPtr> postfix(ExpressionPtr operand);
  Result<ExpressionPtr> filters(ExpressionPtr operand);  // operand null: the text of a block
  Result<ExpressionPtr> filter(ExpressionPtr operand);   // one, from its name on

  // --- the token stream ---
  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  void advance() {
    if (at_ + 1 < tokens_.size()) at_++;
  }
  bool at_symbol(std::string_view symbol) const {
    return current().kind == TokenKind::symbol && current().text == symbol;
  }
  bool at_word(std::string_view word) const {
    return current().kind == TokenKind::name && current().text == word;
  }
  bool skip_symbol(std::string_view symbol);
  bool skip_word(std::string_view word);
  Status expect_symbol(std::string_view symbol);
  Status expect(TokenKind kind, std::string_view what);
  Result<std::string> expect_name();
  tl::unexpected<Error> unexpected_token(std::string_view wanted) const;

  NameId intern(std::string_view name);
  ExpressionPtr make(ExpressionKind kind, std::vector<ExpressionPtr> operands = {}) const;
  // Refuses a tree that has become too deep.
  Result<ExpressionPtr> checked(ExpressionPtr expression) const;

  Status enter();  // one more level of nesting in the source, ...
  class Nesting {  // ... left at the end of the block
   public:
    explicit Nesting(ExpressionParser& parser) : parser_(parser) {}
    ~Nesting() { parser_.nesting_--; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

  const TemplateLimits& limits_;
  std::vector<std::string> names_;
  std::vector<bool> names_read_;  // by NameId: read since the innermost macro began

 private:
  Result<ExpressionPtr> logical_or();
  Result<ExpressionPtr> logical_and();
  Result<ExpressionPtr> logical_not();
  Result<ExpressionPtr> comparison();
  Result<ExpressionPtr> binary(int precedence);
  Result<ExpressionPtr> unary(bool with_filters);
  Result<ExpressionPtr> primary();
  Result<ExpressionPtr> parenthesized();
  Result<ExpressionPtr> list_literal();
  Result<ExpressionPtr> dict_literal();
  Result<ExpressionPtr> subscript(ExpressionPtr operand);
  Result<ExpressionPtr> slice_bound();
  Result<ExpressionPtr> test(ExpressionPtr operand);
  Result<ExpressionPtr> call(ExpressionPtr callee);
  Result<std::unique_ptr<CallArguments>> call_arguments();
  Status call_argument(CallArguments& arguments);
  Result<std::string> dotted_name();

  std::vector<Token> tokens_;
  size_t at_ = 0;
  size_t nesting_ = 0;
  std::unordered_map<std::string, NameId> name_ids_;
};

}  // namespace hadal::jinja
