// Statements: what stands between {% and %}.
#include "text/template/jinja_parser.h"

#include <algorithm>
#include <initializer_list>

namespace hadal::jinja {
namespace {

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Result<Program> run() {
    Program program;
    HADAL_TRY(program.body, statements({}));
    if (current().kind != TokenKind::end) {
      return fail("line {}: '{}' closes nothing", current().line, next().text);
    }
    program.names = std::move(names_);
    return program;
  }

 private:
  // Up to one of the end words, which stays: the stream is left behind "{%", at the word.
  Result<Body> statements(std::initializer_list<std::string_view> end_words) {
    HADAL_TRY_VOID(enter());
    const Nesting nesting(*this);
    const uint32_t opened = current().line;
    Body body;
    while (current().kind != TokenKind::end) {
      if (current().kind == TokenKind::block_begin) {
        const auto ends = [&](std::string_view word) {
          return next().kind == TokenKind::name && next().text == word;
        };
        if (std::any_of(end_words.begin(), end_words.end(), ends)) {
          advance();
          return body;
        }
      }
      HADAL_TRY(Statement statement, this->statement());
      body.push_back(std::move(statement));
    }
    if (end_words.size() > 0) {
      return fail("line {}: the template ends before '{}'", opened, *(end_words.end() - 1));
    }
    return body;
  }

  // The body of a tag: from behind its "%}" to behind its end tag's.
  Result<Body> block(std::string_view end_word) {
    skip_symbol(":");
    HADAL_TRY_VOID(expect(TokenKind::block_end, "'%}'"));
    HADAL_TRY(Body body, statements({end_word}));
    advance();
    return body;
  }

  Result<Statement> statement() {
    Statement result;
    result.line = current().line;
    if (current().kind == TokenKind::text) {
      result.kind = StatementKind::text;
      result.text = Text::trusted(current().text);
      advance();
      return result;
    }
    if (current().kind == TokenKind::output_begin) {
      advance();
      result.kind = StatementKind::output;
      HADAL_TRY(result.value, tuple_or_expression(Conditional::yes));
      HADAL_TRY_VOID(expect(TokenKind::output_end, "'}}'"));
      return result;
    }
    HADAL_TRY_VOID(expect(TokenKind::block_begin, "a tag"));
    HADAL_TRY(const std::string tag, expect_name());
    HADAL_TRY_VOID(tag_body(result, tag));
    HADAL_TRY_VOID(expect(TokenKind::block_end, "'%}'"));
    return result;
  }

  Status tag_body(Statement& result, const std::string& tag) {
    if (tag == "if") return if_tag(result);
    if (tag == "for") return for_tag(result);
    if (tag == "set") return set_tag(result);
    if (tag == "macro") return macro_tag(result);
    if (tag == "call") return call_tag(result);
    if (tag == "filter") return filter_tag(result);
    if (tag == "with") return with_tag(result);
    if (tag == "print") {
      result.kind = StatementKind::output;
      HADAL_TRY(result.value, expression());
      return {};
    }
    if (tag == "generation") {
      result.kind = StatementKind::scope;
      HADAL_TRY(result.body, block("endgeneration"));
      return {};
    }
    if (tag == "break" || tag == "continue") {
      result.kind = tag == "break" ? StatementKind::break_ : StatementKind::continue_;
      if (loops_ == 0) return fail("line {}: '{}' outside of a loop", result.line, tag);
      return {};
    }
    constexpr std::string_view refused[] = {"include", "import", "from",       "extends",
                                            "block",   "do",     "autoescape", "trans"};
    if (std::find(std::begin(refused), std::end(refused), tag) != std::end(refused)) {
      return fail("line {}: the tag '{}' is not supported in chat templates", result.line, tag);
    }
    return fail("line {}: unknown or misplaced tag '{}'", result.line, tag);
  }

  Status if_tag(Statement& result) {
    result.kind = StatementKind::if_;
    while (true) {
      Branch branch;
      HADAL_TRY(branch.condition, tuple_or_expression(Conditional::no));
      skip_symbol(":");
      HADAL_TRY_VOID(expect(TokenKind::block_end, "'%}'"));
      HADAL_TRY(branch.body, statements({"elif", "else", "endif"}));
      result.branches.push_back(std::move(branch));
      if (skip_word("elif")) continue;
      if (skip_word("else")) {
        Branch otherwise;
        HADAL_TRY(otherwise.body, block("endif"));
        result.branches.push_back(std::move(otherwise));
      } else {
        advance();
      }
      return {};
    }
  }

  Status for_tag(Statement& result) {
    result.kind = StatementKind::for_;
    HADAL_TRY(result.target, target(Namespaces::no));
    if (!skip_word("in")) return unexpected_token("'in'");
    HADAL_TRY(result.value, tuple_or_expression(Conditional::no));
    if (skip_word("if")) {
      HADAL_TRY(result.condition, expression());
    }
    result.recursive = skip_word("recursive");
    skip_symbol(":");
    HADAL_TRY_VOID(expect(TokenKind::block_end, "'%}'"));
    loops_++;
    auto body = statements({"endfor", "else"});
    loops_--;
    if (!body) return forward_error(body);
    result.body = std::move(*body);
    if (skip_word("else")) {
      HADAL_TRY(result.otherwise, block("endfor"));
    } else {
      advance();
    }
    return {};
  }

  Status set_tag(Statement& result) {
    HADAL_TRY(result.target, target(Namespaces::yes));
    if (skip_symbol("=")) {
      result.kind = StatementKind::set;
      HADAL_TRY(result.value, tuple_or_expression(Conditional::yes));
      return {};
    }
    result.kind = StatementKind::set_block;
    HADAL_TRY(result.value, filters(nullptr));
    HADAL_TRY(result.body, block("endset"));
    return {};
  }

  Status macro_tag(Statement& result) {
    result.kind = StatementKind::macro;
    HADAL_TRY(const std::string name, expect_name());
    result.target.name = intern(name);
    return callable_body(result, name, "endmacro");
  }

  Status call_tag(Statement& result) {
    result.kind = StatementKind::call_block;
    return callable_body(result, "caller", "endcall");
  }

  Status filter_tag(Statement& result) {
    result.kind = StatementKind::filter_block;
    HADAL_TRY(result.value, filter(nullptr));
    HADAL_TRY(result.value, filters(std::move(result.value)));
    HADAL_TRY(result.body, block("endfilter"));
    return {};
  }

  Status with_tag(Statement& result) {
    result.kind = StatementKind::with;
    while (current().kind != TokenKind::block_end && !at_symbol(":")) {
      if (!result.assignments.empty()) HADAL_TRY_VOID(expect_symbol(","));
      HADAL_TRY(Target assigned, target_item(Namespaces::no));
      HADAL_TRY_VOID(expect_symbol("="));
      HADAL_TRY(ExpressionPtr value, expression());
      result.assignments.emplace_back(std::move(assigned), std::move(value));
    }
    HADAL_TRY(result.body, block("endwith"));
    return {};
  }

  // A macro's or a call block's signature and body. A break inside belongs to no loop outside.
  Status callable_body(Statement& result, std::string name, std::string_view end_word) {
    const NameId specials[] = {kCallerName, kVarargsName, kKwargsName};
    const std::vector<bool> read_outside = names_read_;
    for (const NameId special : specials) names_read_[special] = false;
    const size_t loops_outside = std::exchange(loops_, 0);
    result.signature = std::make_unique<Signature>();
    Signature& signature = *result.signature;
    signature.name = std::move(name);
    const bool is_call = result.kind == StatementKind::call_block;
    if (!is_call || at_symbol("(")) HADAL_TRY_VOID(parameters(signature));
    if (is_call) {
      HADAL_TRY(result.value, expression());
      if (result.value->kind != ExpressionKind::call) {
        return fail("line {}: 'call' needs a call", result.line);
      }
    }
    HADAL_TRY(result.body, block(end_word));
    loops_ = loops_outside;
    const auto reads = [&](NameId special) {
      const auto is_special = [&](const Parameter& p) { return p.name == special; };
      return names_read_[special] &&
             std::none_of(signature.parameters.begin(), signature.parameters.end(), is_special);
    };
    signature.takes_caller = reads(kCallerName);
    signature.takes_more_positional = reads(kVarargsName);
    signature.takes_more_named = reads(kKwargsName);
    for (const NameId special : specials) names_read_[special] = read_outside[special];
    return {};
  }

  Status parameters(Signature& signature) {
    HADAL_TRY_VOID(expect_symbol("("));
    while (!at_symbol(")")) {
      Parameter parameter;
      HADAL_TRY(const std::string name, expect_name());
      parameter.name = intern(name);
      if (skip_symbol("=")) {
        HADAL_TRY(parameter.fallback, expression());
      } else if (!signature.parameters.empty() && signature.parameters.back().fallback) {
        return fail("line {}: parameter '{}' needs a default, as the one before it has one",
                    current().line, name);
      }
      signature.parameters.push_back(std::move(parameter));
      if (!skip_symbol(",")) break;
    }
    return expect_symbol(")");
  }

  enum class Namespaces : bool { no, yes };

  // What can be assigned to: one item, or several separated by commas.
  Result<Target> target(Namespaces namespaces) {
    Target result;
    bool comma = false;
    while (current().kind != TokenKind::block_end && !at_symbol(")")) {
      HADAL_TRY(Target item, target_item(namespaces));
      result.items.push_back(std::move(item));
      if (!skip_symbol(",")) break;
      comma = true;
    }
    if (result.items.empty()) return unexpected_token("a name to assign to");
    if (!comma) return Target(std::move(result.items[0]));
    result.is_tuple = true;
    return result;
  }

  Result<Target> target_item(Namespaces namespaces) {
    Target result;
    if (at_symbol("(")) {
      HADAL_TRY_VOID(enter());
      const Nesting nesting(*this);
      advance();
      HADAL_TRY(result, target(namespaces));
      HADAL_TRY_VOID(expect_symbol(")"));
      return result;
    }
    HADAL_TRY(const std::string name, expect_name());
    constexpr std::string_view constants[] = {"true", "false", "none", "True", "False", "None"};
    if (std::find(std::begin(constants), std::end(constants), name) != std::end(constants)) {
      return fail("line {}: '{}' cannot be assigned to", current().line, name);
    }
    result.name = intern(name);
    if (namespaces == Namespaces::yes && skip_symbol(".")) {
      HADAL_TRY(result.attribute, expect_name());
    }
    return result;
  }

  size_t loops_ = 0;
};

}  // namespace

Result<Program> Program::parse(std::string_view source, const TemplateLimits& limits) {
  if (source.size() > limits.source_bytes_max) {
    return fail("the template has {} bytes (limit: {})", source.size(), limits.source_bytes_max);
  }
  HADAL_TRY(std::vector<Token> tokens, tokenize(valid_utf8(source)));
  return Parser(std::move(tokens), limits).run();
}

}  // namespace hadal::jinja
