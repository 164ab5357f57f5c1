// The pieces of JSON text of which a schema's rules are made.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "text/grammar/automaton.h"
#include "text/grammar/byte_nfa.h"
#include "text/grammar/schema_goals.h"

namespace hadal {

// Knows the number of the rule for a goal, or for a string of so many characters.
class RuleNumbers {
 public:
  virtual ~RuleNumbers() = default;
  virtual uint32_t of_goal(const Goal& goal) = 0;
  virtual uint32_t of_string(uint32_t length_min, uint32_t length_max) = 0;
};

// Each adds texts between two nodes.
Status add_object(ByteNfa& nfa, uint32_t from, const Alternative& object, RuleNumbers& rules,
                  WorkBudget& budget, uint32_t to);
Status add_array(ByteNfa& nfa, uint32_t from, const Alternative& array, RuleNumbers& rules,
                 WorkBudget& budget, uint32_t to);

// Any JSON string of so many characters, as a rule.
Result<Automaton::Rule> string_rule(uint32_t length_min, uint32_t length_max, WorkBudget& budget);

}  // namespace hadal
