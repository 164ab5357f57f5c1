// A grammar ready to be walked: a pushdown automaton over bytes. A rule is a deterministic
// automaton whose states may also call other rules (a value inside an object), which then return to
// a state of the caller. Plain data; made by SchemaCompiler, immutable, any thread may read it.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/result.h"
#include "text/grammar/byte_nfa.h"

namespace hadal {

class Automaton {
 public:
  static constexpr uint32_t kDepthMax = 64;  // calls that may be open
  static constexpr uint32_t kUnbounded = std::numeric_limits<uint32_t>::max();

  struct State {
    uint32_t edges_begin = 0, edges_end = 0;  // of edges_, sorted, disjoint
    uint32_t calls_begin = 0, calls_end = 0;  // of calls_
    // A string's characters are counted where min or max is set: this state lies between
    // characters; a quote needs `count_min` of them, any other byte fewer than `count_max`.
    uint32_t count_min = 0, count_max = kUnbounded;
    uint8_t height = 0;  // calls that must be open at once, at least, to come to the rule's end
    bool is_final = false;

    bool counts() const { return count_min > 0 || count_max != kUnbounded; }
  };

  // A rule as it is built. counted: the state of which count_min and count_max speak, if any.
  struct Rule {
    Dfa dfa;  // begins at state 0
    uint32_t counted = kUnbounded;
    uint32_t count_min = 0, count_max = kUnbounded;
  };

  // Rule 0 is the whole text. Leaves out what can never come to an end; productive() says of which
  // rules nothing is left.
  explicit Automaton(std::vector<Rule> rules);

  bool productive(uint32_t rule) const { return productive_[rule]; }
  uint32_t start(uint32_t rule) const { return starts_[rule]; }
  const State& state(uint32_t index) const { return states_[index]; }
  std::span<const ByteEdge> edges(const State& state) const {
    return {edges_.data() + state.edges_begin, edges_.data() + state.edges_end};
  }
  std::span<const CallEdge> calls(const State& state) const {
    return {calls_.data() + state.calls_begin, calls_.data() + state.calls_end};
  }
  size_t states() const { return states_.size(); }

 private:
  void flatten(const std::vector<Rule>& rules);
  void find_heights();
  void prune();

  std::vector<State> states_;
  std::vector<ByteEdge> edges_;
  std::vector<CallEdge> calls_;
  std::vector<uint32_t> starts_;  // [rules]
  std::vector<bool> productive_;  // [rules]
};

}  // namespace hadal
