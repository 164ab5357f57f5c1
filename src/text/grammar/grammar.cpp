#include "text/grammar/grammar.h"

#include <map>
#include <utility>

#include "text/grammar/json_rules.h"
#include "text/grammar/schema_document.h"
#include "text/grammar/schema_goals.h"

namespace hadal {
namespace {

// Goals become rules, one after another as they are asked for.
class SchemaCompiler final : public RuleNumbers {
 public:
  SchemaCompiler(const SchemaDocument& document, const GrammarLimits& limits)
      : document_(document),
        limits_(limits),
        budget_{limits.work_max, limits.states_max},
        goals_(document, limits, budget_) {}

  Result<Automaton> run(const GrammarFrame& frame) {
    const bool is_framed = !frame.before.empty() || !frame.behind.empty();
    if (is_framed) rules_.emplace_back();
    const uint32_t value = of_goal({0});
    if (is_framed) {
      HADAL_TRY(rules_[0], frame_rule(frame, value));
    }
    std::vector<std::pair<uint32_t, uint32_t>> exclusions;  // rule, the oneOf
    for (size_t i = 0; i < waiting_.size() || exclusions.size() < goals_.exclusions().size();) {
      if (i == waiting_.size()) {
        const auto& exclusion = goals_.exclusions()[exclusions.size()];
        exclusions.emplace_back(of_goal(exclusion.goal), exclusion.owner);
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
    Automaton automaton(std::move(rules_));
    for (const auto& [rule, owner] : exclusions) {
      if (!automaton.productive(rule)) continue;
      return fail(
          "{}: two branches of this oneOf may hold for one value, which cannot be "
          "enforced; give them a property with different const values, or use anyOf",
          document_.place(owner));
    }
    if (!automaton.productive(0)) return fail("the schema allows no value at all");
    return automaton;
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
  Result<Automaton::Rule> frame_rule(const GrammarFrame& frame, uint32_t value) {
    ByteNfa nfa;
    const uint32_t start = nfa.add_node(), behind = nfa.add_node();
    nfa.add_call(nfa.add_literal(start, frame.before), value, behind);
    const uint32_t final = nfa.add_literal(behind, frame.behind);
    Automaton::Rule rule;
    HADAL_TRY(rule.dfa, nfa.determinize(start, final, budget_));
    return rule;
  }

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

  const SchemaDocument& document_;
  const GrammarLimits& limits_;
  WorkBudget budget_;
  SchemaGoals goals_;
  std::vector<Automaton::Rule> rules_;
  std::map<Goal, uint32_t> values_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> strings_;
  std::vector<std::pair<uint32_t, const Goal*>> waiting_;  // rules not made yet
};

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::compile(std::string_view schema,
                                                        const GrammarLimits& limits,
                                                        const GrammarFrame& frame) {
  HADAL_TRY(const auto document, SchemaDocument::parse(schema, limits));
  HADAL_TRY(auto automaton, SchemaCompiler(document, limits).run(frame));
  return std::make_shared<const Grammar>(std::move(automaton));
}

Result<std::shared_ptr<const Grammar>> Grammar::any_object() {
  return compile(R"({"type": "object"})");
}

}  // namespace hadal
