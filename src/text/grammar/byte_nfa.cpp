#include "text/grammar/byte_nfa.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

namespace hadal {
namespace {

constexpr uint32_t kSurrogatesFirst = 0xD800, kSurrogatesLast = 0xDFFF, kLastCharacter = 0x10FFFF;

struct Utf8 {
  std::array<uint8_t, 4> bytes;
  size_t count;
};

Utf8 encode(uint32_t c) {
  const auto continuation = [c](int shift) {
    return static_cast<uint8_t>(0x80 | ((c >> shift) & 0x3F));
  };
  if (c < 0x80) return {{static_cast<uint8_t>(c)}, 1};
  if (c < 0x800) return {{static_cast<uint8_t>(0xC0 | (c >> 6)), continuation(0)}, 2};
  if (c < 0x10000) {
    return {{static_cast<uint8_t>(0xE0 | (c >> 12)), continuation(6), continuation(0)}, 3};
  }
  return {
      {static_cast<uint8_t>(0xF0 | (c >> 18)), continuation(12), continuation(6), continuation(0)},
      4};
}

// Groups the bytes 0..255 by what stands at them: [first, last, value].
template <typename Values, typename Use>
void for_each_run(const Values& values, Use use) {
  for (size_t first = 0; first < 256;) {
    size_t last = first;
    while (last + 1 < 256 && values[last + 1] == values[first]) ++last;
    use(static_cast<uint8_t>(first), static_cast<uint8_t>(last), values[first]);
    first = last + 1;
  }
}

struct SetHash {
  size_t operator()(const std::vector<uint32_t>& set) const {
    uint64_t hash = 0x9E3779B97F4A7C15;
    for (const uint32_t value : set) hash = (hash ^ value) * 0xD6E8FEB86659FD93, hash ^= hash >> 32;
    return hash;
  }
};

}  // namespace

Status WorkBudget::spend(uint64_t steps) {
  work += steps;
  if (work > work_max) {
    return fail("the schema takes too much work to compile (limit: {} steps); make it smaller",
                work_max);
  }
  return {};
}

Status WorkBudget::add_state() {
  if (++states > states_max) {
    return fail("the schema needs more than {} states, which is the limit; make it smaller",
                states_max);
  }
  return {};
}

uint32_t Dfa::next(uint32_t state, uint8_t byte) const {
  for (const ByteEdge& edge : states[state].edges) {
    if (byte >= edge.first && byte <= edge.last) return edge.to;
  }
  return kNone;
}

bool Dfa::matches(std::string_view bytes) const {
  uint32_t at = 0;
  for (const char byte : bytes) {
    at = next(at, static_cast<uint8_t>(byte));
    if (at == kNone) return false;
  }
  return states[at].is_final;
}

uint32_t ByteNfa::add_node() {
  nodes_.emplace_back();
  return static_cast<uint32_t>(nodes_.size() - 1);
}

void ByteNfa::add_range(uint32_t from, uint8_t first, uint8_t last, uint32_t to) {
  nodes_[from].edges.push_back({first, last, to});
}

void ByteNfa::add_empty(uint32_t from, uint32_t to, When when) {
  nodes_[from].empties.push_back({to, when});
}

void ByteNfa::add_call(uint32_t from, uint32_t rule, uint32_t to) {
  nodes_[from].calls.push_back({rule, to});
}

uint32_t ByteNfa::add_literal(uint32_t from, std::string_view bytes) {
  for (const char byte : bytes) {
    const uint32_t to = add_node();
    add_range(from, static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), to);
    from = to;
  }
  return from;
}

void ByteNfa::add_characters(uint32_t from, CodeRange range, uint32_t to) {
  std::vector<CodeRange> pending{range};
  while (!pending.empty()) {
    CodeRange r = pending.back();
    pending.pop_back();
    r.last = std::min(r.last, kLastCharacter);
    if (r.first > r.last) continue;
    // Cut until first and last have equally many bytes, and all but a common beginning of those
    // run through whole blocks: then the characters are a product of byte ranges.
    const auto cut = [&](uint32_t last_of_left) {
      if (r.first > last_of_left || r.last <= last_of_left) return false;
      pending.push_back({last_of_left + 1, r.last});
      pending.push_back({r.first, last_of_left});
      return true;
    };
    if (r.first <= kSurrogatesLast && r.last >= kSurrogatesFirst) {
      if (r.first < kSurrogatesFirst) pending.push_back({r.first, kSurrogatesFirst - 1});
      if (r.last > kSurrogatesLast) pending.push_back({kSurrogatesLast + 1, r.last});
      continue;
    }
    if (cut(0x7F) || cut(0x7FF) || cut(0xFFFF)) continue;
    bool was_cut = false;
    for (int shift = 6; shift <= 18 && !was_cut && r.last >= 0x80; shift += 6) {
      const uint32_t block = (1u << shift) - 1;
      if ((r.first & ~block) == (r.last & ~block)) continue;
      if ((r.first & block) != 0) {
        was_cut = cut(r.first | block);
      } else if ((r.last & block) != block) {
        was_cut = cut((r.last & ~block) - 1);
      }
    }
    if (was_cut) continue;
    const Utf8 first = encode(r.first), last = encode(r.last);
    uint32_t at = from;
    for (size_t i = 0; i < first.count; ++i) {
      const uint32_t next = i + 1 == first.count ? to : add_node();
      add_range(at, first.bytes[i], last.bytes[i], next);
      at = next;
    }
  }
}

class SubsetConstruction {
 public:
  SubsetConstruction(const ByteNfa& nfa, uint32_t final, WorkBudget& budget)
      : nfa_(nfa), final_(final), budget_(budget), stamps_(nfa.nodes(), 0) {}

  Result<Dfa> run(uint32_t start) {
    HADAL_TRY_VOID(state_of({start}, /*at_start=*/true).map([](uint32_t) {}));
    for (size_t i = 0; i < sets_.size(); ++i) HADAL_TRY_VOID(fill(static_cast<uint32_t>(i)));
    return std::move(dfa_);
  }

 private:
  using Set = std::vector<uint32_t>;

  // All nodes that empty edges lead to.
  void close(Set& set, bool at_start, bool at_end) {
    ++stamp_;
    for (const uint32_t node : set) stamps_[node] = stamp_;
    for (size_t i = 0; i < set.size(); ++i) {
      for (const auto& empty : nfa_.nodes_[set[i]].empties) {
        if (empty.when == ByteNfa::When::kAtStart && !at_start) continue;
        if (empty.when == ByteNfa::When::kAtEnd && !at_end) continue;
        if (std::exchange(stamps_[empty.to], stamp_) != stamp_) set.push_back(empty.to);
      }
    }
    std::sort(set.begin(), set.end());
  }

  Result<uint32_t> state_of(Set set, bool at_start) {
    Set ending = set;
    close(set, at_start, /*at_end=*/false);
    HADAL_TRY_VOID(budget_.spend(set.size() + 1));
    const auto known = ids_.find(set);
    if (known != ids_.end() && !at_start) return known->second;
    HADAL_TRY_VOID(budget_.add_state());
    const auto id = static_cast<uint32_t>(sets_.size());
    // The first state is its own: what may be followed at the start only is already in it.
    if (!at_start) ids_.emplace(set, id);
    close(ending, at_start, /*at_end=*/true);
    dfa_.states.emplace_back().is_final = std::binary_search(ending.begin(), ending.end(), final_);
    sets_.push_back(std::move(set));
    return id;
  }

  Status fill(uint32_t id) {
    std::array<Set, 256> targets;
    std::map<uint32_t, Set> calls;
    uint64_t steps = 0;
    for (const uint32_t node : sets_[id]) {
      for (const ByteEdge& edge : nfa_.nodes_[node].edges) {
        for (unsigned byte = edge.first; byte <= edge.last; ++byte) {
          targets[byte].push_back(edge.to);
        }
        steps += 1 + (edge.last - edge.first) / 8u;
      }
      for (const CallEdge& call : nfa_.nodes_[node].calls) calls[call.rule].push_back(call.to);
    }
    HADAL_TRY_VOID(budget_.spend(steps));
    for (Set& set : targets) unique(set);
    Status status;
    for_each_run(targets, [&](uint8_t first, uint8_t last, const Set& set) {
      if (set.empty() || !status) return;
      const auto to = state_of(set, /*at_start=*/false);
      if (!to) {
        status = forward_error(to);
        return;
      }
      auto& edges = dfa_.states[id].edges;
      if (!edges.empty() && edges.back().to == *to && edges.back().last + 1 == first) {
        edges.back().last = last;
      } else {
        edges.push_back({first, last, *to});
      }
    });
    HADAL_TRY_VOID(status);
    for (auto& [rule, set] : calls) {
      unique(set);
      HADAL_TRY(const uint32_t to, state_of(set, /*at_start=*/false));
      dfa_.states[id].calls.push_back({rule, to});
    }
    return {};
  }

  static void unique(Set& set) {
    std::sort(set.begin(), set.end());
    set.erase(std::unique(set.begin(), set.end()), set.end());
  }

  const ByteNfa& nfa_;
  const uint32_t final_;
  WorkBudget& budget_;
  std::vector<uint32_t> stamps_;  // [nodes]
  uint32_t stamp_ = 0;
  std::vector<Set> sets_;  // [states]
  std::unordered_map<Set, uint32_t, SetHash> ids_;
  Dfa dfa_;
};

Result<Dfa> ByteNfa::determinize(uint32_t start, uint32_t final, WorkBudget& budget) const {
  return SubsetConstruction(*this, final, budget).run(start);
}

Dfa trimmed(const Dfa& dfa) {
  const size_t count = dfa.states.size();
  std::vector<std::vector<uint32_t>> before(count);
  std::vector<uint32_t> pending;
  std::vector<bool> ends(count, false);
  for (uint32_t state = 0; state < count; ++state) {
    for (const ByteEdge& edge : dfa.states[state].edges) before[edge.to].push_back(state);
    ends[state] = dfa.states[state].is_final;
    if (ends[state]) pending.push_back(state);
  }
  while (!pending.empty()) {
    const uint32_t state = pending.back();
    pending.pop_back();
    for (const uint32_t from : before[state]) {
      if (!ends[from]) pending.push_back(from);
      ends[from] = true;
    }
  }
  Dfa kept;
  std::vector<uint32_t> old_numbers = {0}, numbers(count, Dfa::kNone);
  numbers[0] = 0;
  for (size_t i = 0; i < old_numbers.size(); ++i) {
    const Dfa::State& from = dfa.states[old_numbers[i]];
    Dfa::State& state = kept.states.emplace_back();
    state.is_final = from.is_final;
    for (const ByteEdge& edge : from.edges) {
      if (!ends[edge.to]) continue;
      if (numbers[edge.to] == Dfa::kNone) {
        numbers[edge.to] = static_cast<uint32_t>(old_numbers.size());
        old_numbers.push_back(edge.to);
      }
      state.edges.push_back({edge.first, edge.last, numbers[edge.to]});
    }
  }
  return kept;
}

Result<Dfa> intersect(const Dfa& a, const Dfa& b, WorkBudget& budget) {
  Dfa both;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> ids;
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  const auto state_of = [&](uint32_t in_a, uint32_t in_b) -> Result<uint32_t> {
    const auto [known, is_new] = ids.try_emplace({in_a, in_b}, static_cast<uint32_t>(pairs.size()));
    if (is_new) {
      HADAL_TRY_VOID(budget.add_state());
      pairs.emplace_back(in_a, in_b);
      both.states.emplace_back().is_final = a.states[in_a].is_final && b.states[in_b].is_final;
    }
    return known->second;
  };
  HADAL_TRY_VOID(state_of(0, 0).map([](uint32_t) {}));
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [in_a, in_b] = pairs[i];
    const auto& of_a = a.states[in_a].edges;
    const auto& of_b = b.states[in_b].edges;
    HADAL_TRY_VOID(budget.spend(1 + of_a.size() + of_b.size()));
    for (size_t x = 0, y = 0; x < of_a.size() && y < of_b.size();) {
      const uint8_t first = std::max(of_a[x].first, of_b[y].first);
      const uint8_t last = std::min(of_a[x].last, of_b[y].last);
      if (first <= last) {
        HADAL_TRY(const uint32_t to, state_of(of_a[x].to, of_b[y].to));
        both.states[i].edges.push_back({first, last, to});
      }
      if (of_a[x].last < of_b[y].last) {
        ++x;
      } else {
        ++y;
      }
    }
  }
  return trimmed(both);
}

Result<Dfa> with_length(const Dfa& dfa, uint32_t length_min, uint32_t length_max,
                        WorkBudget& budget) {
  Dfa counted;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> ids;
  std::vector<std::pair<uint32_t, uint32_t>> pairs;  // state, characters begun
  const auto state_of = [&](uint32_t state, uint32_t count) -> Result<uint32_t> {
    // Without an upper end all counts from the lower one on are alike.
    if (length_max == UINT32_MAX) count = std::min(count, length_min);
    const auto [known, is_new] = ids.try_emplace({state, count}, pairs.size());
    if (is_new) {
      HADAL_TRY_VOID(budget.add_state());
      pairs.emplace_back(state, count);
      counted.states.emplace_back().is_final = dfa.states[state].is_final && count >= length_min;
    }
    return known->second;
  };
  HADAL_TRY_VOID(state_of(0, 0).map([](uint32_t) {}));
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [state, count] = pairs[i];
    HADAL_TRY_VOID(budget.spend(1 + dfa.states[state].edges.size()));
    for (const ByteEdge& edge : dfa.states[state].edges) {
      // A byte 0x80..0xBF goes on with a character, any other begins one.
      const std::array<ByteEdge, 3> parts = {
          ByteEdge{edge.first, std::min<uint8_t>(edge.last, 0x7F), edge.to},
          ByteEdge{std::max<uint8_t>(edge.first, 0x80), std::min<uint8_t>(edge.last, 0xBF),
                   edge.to},
          ByteEdge{std::max<uint8_t>(edge.first, 0xC0), edge.last, edge.to}};
      for (size_t part = 0; part < parts.size(); ++part) {
        if (parts[part].first > parts[part].last) continue;
        const uint32_t characters = part == 1 ? 0 : 1;
        if (characters > length_max - count) continue;
        HADAL_TRY(const uint32_t to, state_of(edge.to, count + characters));
        counted.states[i].edges.push_back({parts[part].first, parts[part].last, to});
      }
    }
  }
  return trimmed(counted);
}

void add_json_string(ByteNfa& nfa, uint32_t from, const Dfa& dfa, uint32_t to) {
  constexpr std::string_view kShort[] = {"\"\"", "\\\\", "\bb", "\ff", "\nn", "\rr", "\tt"};
  std::vector<uint32_t> nodes(dfa.states.size());
  for (uint32_t& node : nodes) node = nfa.add_node();
  nfa.add_empty(from, nodes[0]);
  const auto add_escaped = [&](uint32_t node, uint8_t byte, uint32_t target) {
    std::string escape = "\\";
    for (const std::string_view pair : kShort) {
      if (static_cast<uint8_t>(pair[0]) == byte) escape += pair[1];
    }
    if (escape.size() == 1) escape += fmt::format("u{:04x}", byte);
    nfa.add_empty(nfa.add_literal(node, escape), target);
  };
  const auto add_plain = [&](uint32_t node, unsigned first, unsigned last, uint32_t target) {
    nfa.add_range(node, static_cast<uint8_t>(first), static_cast<uint8_t>(last), target);
  };
  for (size_t i = 0; i < dfa.states.size(); ++i) {
    if (dfa.states[i].is_final) nfa.add_empty(nodes[i], to);
    for (const ByteEdge& edge : dfa.states[i].edges) {
      unsigned plain = edge.first;  // of the edge, what is not added yet
      for (unsigned byte = edge.first; byte <= std::min<unsigned>(edge.last, '\\'); ++byte) {
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        if (plain < byte) add_plain(nodes[i], plain, byte - 1, nodes[edge.to]);
        add_escaped(nodes[i], static_cast<uint8_t>(byte), nodes[edge.to]);
        plain = byte + 1;
      }
      if (plain <= edge.last) add_plain(nodes[i], plain, edge.last, nodes[edge.to]);
    }
  }
}

}  // namespace hadal
