#include "text/grammar/automaton.h"

#include <utility>

namespace hadal {
namespace {

constexpr uint8_t kNever = UINT8_MAX;  // of a state's height: no way to the end

// Which values stand at which key, as one array: of[begin[key]..begin[key + 1]].
struct Groups {
  std::vector<uint32_t> begin, of;

  template <typename Each>
  Groups(size_t keys, Each each) : begin(keys + 1, 0) {
    each([&](uint32_t key, uint32_t) { ++begin[key + 1]; });
    for (size_t key = 0; key < keys; ++key) begin[key + 1] += begin[key];
    of.resize(begin[keys]);
    std::vector<uint32_t> next(begin.begin(), begin.end() - 1);
    each([&](uint32_t key, uint32_t value) { of[next[key]++] = value; });
  }
  std::span<const uint32_t> at(uint32_t key) const {
    return {of.data() + begin[key], of.data() + begin[key + 1]};
  }
};

}  // namespace

Automaton::Automaton(std::vector<Rule> rules) {
  flatten(rules);
  find_heights();
  productive_.resize(starts_.size());
  for (size_t rule = 0; rule < starts_.size(); ++rule) {
    productive_[rule] = states_[starts_[rule]].height != kNever;
  }
  prune();
}

void Automaton::flatten(const std::vector<Rule>& rules) {
  for (const Rule& rule : rules) {
    const auto first = static_cast<uint32_t>(states_.size());
    starts_.push_back(first);
    for (uint32_t i = 0; i < rule.dfa.states.size(); ++i) {
      const Dfa::State& from = rule.dfa.states[i];
      State& state = states_.emplace_back();
      state.is_final = from.is_final;
      state.edges_begin = static_cast<uint32_t>(edges_.size());
      for (const ByteEdge& edge : from.edges) {
        edges_.push_back({edge.first, edge.last, edge.to + first});
      }
      state.edges_end = static_cast<uint32_t>(edges_.size());
      state.calls_begin = static_cast<uint32_t>(calls_.size());
      for (const CallEdge& call : from.calls) calls_.push_back({call.rule, call.to + first});
      state.calls_end = static_cast<uint32_t>(calls_.size());
      if (i == rule.counted) {
        state.count_min = rule.count_min;
        state.count_max = rule.count_max;
      }
    }
  }
}

// Level by level: the states that need no open call to come to an end, then those that need one...
// Each level is searched from its ends backwards.
void Automaton::find_heights() {
  const size_t count = states_.size();
  std::vector<uint32_t> caller(calls_.size());
  for (uint32_t s = 0; s < count; ++s) {
    for (uint32_t c = states_[s].calls_begin; c < states_[s].calls_end; ++c) caller[c] = s;
  }
  const Groups before(count, [&](auto add) {
    for (uint32_t s = 0; s < count; ++s) {
      for (const ByteEdge& edge : edges(states_[s])) add(edge.to, s);
    }
  });
  const Groups returning(count, [&](auto add) {
    for (uint32_t c = 0; c < calls_.size(); ++c) add(calls_[c].to, c);
  });
  const Groups calling(starts_.size(), [&](auto add) {
    for (uint32_t c = 0; c < calls_.size(); ++c) add(calls_[c].rule, c);
  });

  std::vector<uint32_t> settled;
  for (uint32_t s = 0; s < count; ++s) {
    states_[s].height = states_[s].is_final ? 0 : kNever;
    if (states_[s].is_final) settled.push_back(s);
  }
  std::vector<bool> rule_done(starts_.size(), false);
  for (uint8_t level = 0; level <= kDepthMax; ++level) {
    const auto settle = [&](uint32_t state) {
      if (states_[state].height != kNever) return;
      states_[state].height = level;
      settled.push_back(state);
    };
    for (uint32_t rule = 0; rule < starts_.size(); ++rule) {
      if (rule_done[rule] || states_[starts_[rule]].height >= level) continue;
      rule_done[rule] = true;
      for (const uint32_t call : calling.at(rule)) {
        if (states_[calls_[call].to].height != kNever) settle(caller[call]);
      }
    }
    while (!settled.empty()) {
      const uint32_t state = settled.back();
      settled.pop_back();
      for (const uint32_t from : before.at(state)) settle(from);
      for (const uint32_t call : returning.at(state)) {
        if (rule_done[calls_[call].rule]) settle(caller[call]);
      }
    }
  }
}

void Automaton::prune() {
  const auto ends = [&](uint32_t state) { return states_[state].height != kNever; };
  std::vector<ByteEdge> edges;
  std::vector<CallEdge> calls;
  for (State& state : states_) {
    const auto old_edges = this->edges(state);
    const auto old_calls = this->calls(state);
    state.edges_begin = static_cast<uint32_t>(edges.size());
    for (const ByteEdge& edge : old_edges) {
      if (ends(edge.to)) edges.push_back(edge);
    }
    state.edges_end = static_cast<uint32_t>(edges.size());
    state.calls_begin = static_cast<uint32_t>(calls.size());
    for (const CallEdge& call : old_calls) {
      if (productive_[call.rule] && ends(call.to)) calls.push_back(call);
    }
    state.calls_end = static_cast<uint32_t>(calls.size());
  }
  edges_ = std::move(edges);
  calls_ = std::move(calls);
}

}  // namespace hadal
