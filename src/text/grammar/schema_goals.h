// What a value must be, read from a schema: allOf and $ref joined, anyOf and oneOf multiplied out.
//
// A goal is a set of subschemas that must all hold: where two of them speak of one property, the
// goal of that property holds both of theirs. So `allOf` is exact, recursion through $ref comes
// back to a goal already known, and whether two branches of a oneOf exclude each other is whether
// the goal that holds both has no value.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/grammar/decimal_range.h"
#include "text/grammar/schema_document.h"

namespace hadal {

// Sorted. Each: the number of a subschema, doubled; plus 1 where only its own keywords count,
// without $ref, allOf, anyOf and oneOf. The empty goal holds for any value.
using Goal = std::vector<uint32_t>;

constexpr uint32_t kNoMaximum = UINT32_MAX;

enum JsonTypes : uint8_t {
  kNullType = 1,
  kBooleanType = 2,
  kIntegerType = 4,
  kFractionType = 8,  // numbers that are not whole
  kStringType = 16,
  kArrayType = 32,
  kObjectType = 64,
  kAllTypes = 127,
};

// One way to hold a goal: all keywords of its subschemas, joined.
struct Alternative {
  uint8_t types = kAllTypes;  // JsonTypes
  bool lists_values = false;  // enum, const: those of `values` and nothing else
  std::vector<uint32_t> values;

  DecimalRange range;
  uint32_t length_min = 0, length_max = kNoMaximum;
  struct Pattern {
    std::string source;
    uint32_t owner;  // the subschema, for messages
    auto operator<=>(const Pattern&) const = default;
  };
  std::vector<Pattern> patterns;  // of pattern and format

  uint32_t items_min = 0, items_max = kNoMaximum;
  uint32_t items_written_max = kNoMaximum;  // by an answer, which keeps to what is declared
  std::vector<Goal> first_items;
  std::optional<Goal> other_items;

  struct Property {
    std::string name;
    Goal goal;
    bool is_required = false;
  };
  std::vector<Property> properties;      // in the order of their declaration
  std::optional<Goal> other_properties;  // none: an answer writes no others
};

class SchemaGoals {
 public:
  SchemaGoals(const SchemaDocument& document, const GrammarLimits& limits, WorkBudget& budget)
      : document_(document), limits_(limits), budget_(budget) {}

  static constexpr uint32_t kReferencesMax = 200;  // $ref, allOf, anyOf and oneOf in a row
  static constexpr uint32_t kChoicesMax = 64;      // anyOf and oneOf that must hold for one value
  static constexpr uint32_t kGoalsDepthMax = 48;   // enum within enum, and the like

  // Without those that evidently hold for no value. Stays where it is.
  Result<const std::vector<Alternative>*> alternatives(const Goal& goal);

  Result<const Dfa*> pattern(const Alternative::Pattern& pattern);

  // Goals that must turn out to have no value: two branches of a oneOf.
  struct Exclusion {
    Goal goal;
    uint32_t owner;  // the oneOf
  };
  const std::vector<Exclusion>& exclusions() const { return exclusions_; }

 private:
  struct Choice {
    uint32_t branches;  // the number of the list
    uint32_t owner;
    uint32_t link;
  };
  struct Draft {
    std::vector<uint32_t> nodes;  // subschemas, in the order in which they were met
    std::set<uint32_t> seen;      // of a goal's elements
    std::vector<Choice> choices;  // not made yet, from `choices_made` on
    size_t choices_made = 0;
    bool is_never = false;
  };
  struct Link {  // how a subschema was come to, within one goal
    uint32_t element, parent, depth;
  };

  Status add(Draft& draft, uint32_t element, uint32_t link);
  Status add_parts(Draft& draft, uint32_t owner, uint32_t link);
  Status check_keywords(uint32_t number) const;
  Status choose(const Draft& draft, std::vector<Alternative>& made);
  Status exclude_branches(const Choice& choice);

  Result<std::optional<Alternative>> join(const std::vector<uint32_t>& nodes);
  Status join_types(const std::vector<uint32_t>& nodes, Alternative& to) const;
  Status join_values(uint32_t node, std::optional<std::vector<uint32_t>>& values) const;
  Status join_numbers(uint32_t node, Alternative& to) const;
  Status join_strings(uint32_t node, Alternative& to) const;
  Status join_items(const std::vector<uint32_t>& nodes, Alternative& to) const;
  Status join_properties(const std::vector<uint32_t>& nodes, Alternative& to) const;
  Result<bool> lacks_required(const Alternative& alternative);
  Result<bool> holds(const SchemaJson& value, const Goal& goal);
  Result<bool> holds(const SchemaJson& value, const Alternative& alternative);
  Result<bool> holds_string(const std::string& value, const Alternative& alternative);

  Result<uint32_t> count_of(uint32_t node, const char* keyword, uint32_t limit) const;
  const SchemaJson* find(uint32_t node, const char* keyword) const;
  std::string place(uint32_t node) const { return document_.place(node); }

  const SchemaDocument& document_;
  const GrammarLimits& limits_;
  WorkBudget& budget_;
  std::map<Goal, std::vector<Alternative>> known_;
  std::set<Goal> in_progress_;
  std::map<std::string, Dfa> patterns_;
  std::vector<Exclusion> exclusions_;
  std::vector<Link> links_;
  uint32_t depth_ = 0;  // goals looked into while another is made
};

}  // namespace hadal
