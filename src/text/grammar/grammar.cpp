#include "text/grammar/grammar.h"

#include <map>
#include <utility>

#include "text/grammar/json_rules.h"
#include "text/grammar/schema_document.h"
#include "text/grammar/schema_goals.h"

namespace hadal {
namespace {

// The goals of one schema become rules, one after another as they are asked for.
class SchemaCompiler final : public RuleNumbers {
 public:
  // rules: those of all schemas of the grammar.
  SchemaCompiler(SchemaDocument document, const GrammarLimits& limits, WorkBudget& budget,
                 std::vector<Automaton::Rule>& rules)
      : document_(std::move(document)),
        limits_(limits),
        budget_(budget),
        rules_(rules),
        goals_(document_, limits, budget_) {}

  // Gives the rule of the whole value.
  Result<uint32_t> run() {
    value_ = of_goal({0});
    for (size_t i = 0; i < waiting_.size() || exclusions_.size() < goals_.exclusions().size();) {
      if (i == waiting_.size()) {
        const auto& exclusion = goals_.exclusions()[exclusions_.size()];
        exclusions_.emplace_back(of_goal(exclusion.goal), exclusion.owner);
        continue;
      }
      if (rules_.size() > limits_.rules_max) {
        return fail("the schema has more than {} different values, which is the limit",
                    limits_.rules_max);
      }
      const auto [rule, goal] = waiting_[i++];
      HADAL_TRY(rules_[rule], value_rule(*goal));
    }
    for (const auto& [length, rule] : strings_) {
      HADAL_TRY(rules_[rule], string_rule(length.first, length.second, budget_));
    }
    return value_;
  }

  // Of all schemas' rules together.
  Status check(const Automaton& automaton) const {
    for (const auto& [rule, owner] : exclusions_) {
      if (!automaton.productive(rule)) continue;
      return fail(
          "{}: two branches of this oneOf may hold for one value, which cannot be "
          "enforced; give them a property with different const values, or use anyOf",
          document_.place(owner));
    }
    if (!automaton.productive(value_)) return fail("the schema allows no value at all");
    return {};
  }

  uint32_t of_goal(const Goal& goal) override {
    const auto [known, is_new] = values_.try_emplace(goal, static_cast<uint32_t>(rules_.size()));
    if (is_new) {
      rules_.emplace_back();
      waiting_.emplace_back(known->second, &known->first);
    }
    return known->second;
  }

  uint32_t of_string(uint32_t length_min, uint32_t length_max) override {
    const auto [known, is_new] =
        strings_.try_emplace({length_min, length_max}, static_cast<uint32_t>(rules_.size()));
    if (is_new) rules_.emplace_back();
    return known->second;
  }

 private:
  Result<Automaton::Rule> value_rule(const Goal& goal) {
    HADAL_TRY(const auto* ways, goals_.alternatives(goal));
    ByteNfa nfa;
    const uint32_t start = nfa.add_node(), final = nfa.add_node();
    for (const Alternative& way : *ways) {
      HADAL_TRY_VOID(add(nfa, start, way, final));
      if (nfa.nodes() > kNodesMax) {
        return fail("{}: the schema of this value is too large",
                    goal.empty() ? "#" : document_.place(goal[0] / 2));
      }
    }
    Automaton::Rule rule;
    HADAL_TRY(rule.dfa, nfa.determinize(start, final, budget_));
    return rule;
  }

  Status add(ByteNfa& nfa, uint32_t from, const Alternative& way, uint32_t to) {
    if (way.lists_values) {
      for (const uint32_t value : way.values) {
        const std::string text = json_text(document_.value(value));
        HADAL_TRY_VOID(budget_.spend(text.size()));
        nfa.add_empty(nfa.add_literal(from, text), to);
      }
      return {};
    }
    if (way.types & kNullType) nfa.add_empty(nfa.add_literal(from, "null"), to);
    if (way.types & kBooleanType) {
      nfa.add_empty(nfa.add_literal(from, "true"), to);
      nfa.add_empty(nfa.add_literal(from, "false"), to);
    }
    if (way.types & (kIntegerType | kFractionType)) add_numbers(nfa, from, way.range, to);
    if (way.types & kStringType) HADAL_TRY_VOID(add_string(nfa, from, way, to));
    if (way.types & kArrayType) HADAL_TRY_VOID(add_array(nfa, from, way, *this, budget_, to));
    if (way.types & kObjectType) HADAL_TRY_VOID(add_object(nfa, from, way, *this, budget_, to));
    return {};
  }

  Status add_string(ByteNfa& nfa, uint32_t from, const Alternative& way, uint32_t to) {
    if (way.patterns.empty()) {
      nfa.add_call(from, of_string(way.length_min, way.length_max), to);
      return {};
    }
    Dfa texts;
    for (size_t i = 0; i < way.patterns.size(); ++i) {
      HADAL_TRY(const Dfa* dfa, goals_.pattern(way.patterns[i]));
      if (i == 0) {
        texts = *dfa;
      } else {
        HADAL_TRY(texts, intersect(texts, *dfa, budget_));
      }
    }
    if (way.length_min > 0 || way.length_max != kNoMaximum) {
      HADAL_TRY(texts, with_length(texts, way.length_min, way.length_max, budget_));
    }
    const uint32_t begin = nfa.add_node(), end = nfa.add_node();
    nfa.add_range(from, '"', '"', begin);
    add_json_string(nfa, begin, texts, end);
    nfa.add_range(end, '"', '"', to);
    return {};
  }

  static constexpr size_t kNodesMax = 400'000;  // of one rule, some 100 bytes each

  const SchemaDocument document_;
  const GrammarLimits& limits_;
  WorkBudget& budget_;
  std::vector<Automaton::Rule>& rules_;
  SchemaGoals goals_;
  uint32_t value_ = 0;
  std::vector<std::pair<uint32_t, uint32_t>> exclusions_;  // rule, the oneOf
  std::map<Goal, uint32_t> values_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> strings_;
  std::vector<std::pair<uint32_t, const Goal*>> waiting_;  // rules not made yet
};

// The parts of a grammar become one automaton, whose first rule is any of them.
class PartsCompiler {
 public:
  explicit PartsCompiler(const GrammarLimits& limits)
      : limits_(limits), budget_{limits.work_max, limits.states_max} {}

  Result<Automaton> run(std::span<const GrammarPart> parts) {
    const bool is_one_value = parts.size() == 1 && !parts[0].is_framed();
    if (!is_one_value) rules_.emplace_back();
    ByteNfa nfa;
    const uint32_t start = nfa.add_node(), final = nfa.add_node();
    for (const GrammarPart& part : parts) {
      HADAL_TRY(const uint32_t value, of_owner(part, compile(part)));
      const uint32_t behind = nfa.add_node();
      nfa.add_call(nfa.add_literal(start, part.before), value, behind);
      nfa.add_empty(nfa.add_literal(behind, part.behind), final);
    }
    if (!is_one_value) {
      HADAL_TRY(rules_[0].dfa, nfa.determinize(start, final, budget_));
    }
    Automaton automaton(std::move(rules_));
    for (size_t i = 0; i < parts.size(); ++i) {
      HADAL_TRY_VOID(of_owner(parts[i], schemas_[i]->check(automaton)));
    }
    return automaton;
  }

 private:
  Result<uint32_t> compile(const GrammarPart& part) {
    HADAL_TRY(auto document, SchemaDocument::parse(part.schema, limits_));
    schema_bytes_ += part.schema.size();
    if (schema_bytes_ > limits_.schema_bytes_max) {
      return fail("the schemas have {} bytes together; the limit is {}", schema_bytes_,
                  limits_.schema_bytes_max);
    }
    schemas_.push_back(
        std::make_unique<SchemaCompiler>(std::move(document), limits_, budget_, rules_));
    return schemas_.back()->run();
  }

  template <typename Outcome>
  static Outcome of_owner(const GrammarPart& part, Outcome outcome) {
    if (outcome || part.owner.empty()) return outcome;
    return fail("{}{}", part.owner, outcome.error().message);
  }

  const GrammarLimits& limits_;
  WorkBudget budget_;
  size_t schema_bytes_ = 0;
  std::vector<Automaton::Rule> rules_;
  std::vector<std::unique_ptr<SchemaCompiler>> schemas_;
};

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::compile(std::string_view schema,
                                                        const GrammarLimits& limits) {
  const GrammarPart part{.schema = std::string(schema)};
  return compile({&part, 1}, limits);
}

Result<std::shared_ptr<const Grammar>> Grammar::compile(std::span<const GrammarPart> parts,
                                                        const GrammarLimits& limits) {
  HADAL_TRY(auto automaton, PartsCompiler(limits).run(parts));
  return std::make_shared<const Grammar>(std::move(automaton));
}

Result<std::shared_ptr<const Grammar>> Grammar::any_object() {
  return compile(R"({"type": "object"})");
}

}  // namespace hadal
