// Automata over bytes as they are built: nondeterministic ones, put together from pieces, and the
// deterministic ones made of them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hadal {

struct ByteEdge {
  uint8_t first, last;
  uint32_t to;
};

// A whole text of another rule, then on at `to`.
struct CallEdge {
  uint32_t rule, to;
};

struct CodeRange {
  uint32_t first, last;
};

// What compiling may still cost, shared by all its parts.
struct WorkBudget {
  uint64_t work_max, states_max;
  uint64_t work = 0, states = 0;

  Status spend(uint64_t steps);
  Status add_state();
};

struct Dfa {
  struct State {
    std::vector<ByteEdge> edges;  // sorted, disjoint
    std::vector<CallEdge> calls;
    bool is_final = false;
  };
  std::vector<State> states;  // begins at 0

  // The state behind a byte; kNone where there is none.
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t next(uint32_t state, uint8_t byte) const;
  bool matches(std::string_view bytes) const;  // of a Dfa without calls
};

class ByteNfa {
 public:
  // When an empty edge may be followed: always, only before the first byte, only behind the last.
  enum class When : uint8_t { kAlways, kAtStart, kAtEnd };

  uint32_t add_node();
  void add_range(uint32_t from, uint8_t first, uint8_t last, uint32_t to);
  void add_empty(uint32_t from, uint32_t to, When when = When::kAlways);
  void add_call(uint32_t from, uint32_t rule, uint32_t to);
  uint32_t add_literal(uint32_t from, std::string_view bytes);  // the node behind it
  // A character of these, in UTF-8; surrogates are left out.
  void add_characters(uint32_t from, CodeRange range, uint32_t to);

  size_t nodes() const { return nodes_.size(); }

  // Subset construction. Errors: the budget.
  Result<Dfa> determinize(uint32_t start, uint32_t final, WorkBudget& budget) const;

 private:
  struct EmptyEdge {
    uint32_t to;
    When when;
  };
  struct Node {
    std::vector<ByteEdge> edges;
    std::vector<EmptyEdge> empties;
    std::vector<CallEdge> calls;
  };
  friend class SubsetConstruction;
  std::vector<Node> nodes_;
};

// Without the states from which no final one can be reached, and those that cannot be reached. Of a
// Dfa without calls.
Dfa trimmed(const Dfa& dfa);

// Texts of both; trimmed.
Result<Dfa> intersect(const Dfa& a, const Dfa& b, WorkBudget& budget);

// The texts of a Dfa over UTF-8 that have so many characters; trimmed.
Result<Dfa> with_length(const Dfa& dfa, uint32_t length_min, uint32_t length_max,
                        WorkBudget& budget);

// Adds a Dfa's texts as they stand inside a JSON string, quotes left out: what must be escaped is
// escaped in the shortest way.
void add_json_string(ByteNfa& nfa, uint32_t from, const Dfa& dfa, uint32_t to);

}  // namespace hadal
