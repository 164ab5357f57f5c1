#include "text/grammar/json_rules.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>

namespace hadal {
namespace {

constexpr uint32_t kLastCharacter = 0x10FFFF;

// A comma or colon, and perhaps one blank.
uint32_t add_separator(ByteNfa& nfa, uint32_t from, char separator) {
  const uint32_t blank = nfa.add_node(), to = nfa.add_node();
  nfa.add_range(from, static_cast<uint8_t>(separator), static_cast<uint8_t>(separator), blank);
  nfa.add_range(blank, ' ', ' ', to);
  nfa.add_empty(blank, to);
  return to;
}

// Characters that stand in a JSON string as they are.
void add_unescaped(ByteNfa& nfa, uint32_t from, uint32_t to) {
  nfa.add_characters(from, {0x20, 0x21}, to);
  nfa.add_characters(from, {0x23, 0x5B}, to);
  nfa.add_characters(from, {0x5D, kLastCharacter}, to);
}

// \n, \u00e9, \ud83d\ude00: one character each; halves of a pair only together.
void add_escapes(ByteNfa& nfa, uint32_t from, uint32_t to) {
  const auto add_hex = [&nfa](uint32_t at, std::string_view digits, uint32_t next) {
    for (const char digit : digits) {
      const auto byte = static_cast<uint8_t>(digit);
      nfa.add_range(at, byte, byte, next);
    }
  };
  constexpr std::string_view kHex = "0123456789abcdefABCDEF";
  const auto any_two = [&](uint32_t at, uint32_t next) {
    const uint32_t middle = nfa.add_node();
    add_hex(at, kHex, middle);
    add_hex(middle, kHex, next);
  };
  const uint32_t escape = nfa.add_node(), code = nfa.add_node();
  nfa.add_range(from, '\\', '\\', escape);
  add_hex(escape, "\"\\/bfnrt", to);
  nfa.add_range(escape, 'u', 'u', code);
  const uint32_t plain = nfa.add_node(), plain_rest = nfa.add_node();
  add_hex(code, "0123456789abcefABCEF", plain);
  add_hex(plain, kHex, plain_rest);
  any_two(plain_rest, to);
  const uint32_t from_d = nfa.add_node(), below = nfa.add_node();
  add_hex(code, "dD", from_d);
  add_hex(from_d, "01234567", below);
  any_two(below, to);
  const uint32_t high = nfa.add_node(), high_end = nfa.add_node();
  add_hex(from_d, "89abAB", high);
  any_two(high, high_end);
  const uint32_t low = nfa.add_literal(high_end, "\\u");
  const uint32_t low_d = nfa.add_node(), low_rest = nfa.add_node();
  add_hex(low, "dD", low_d);
  add_hex(low_d, "cdefCDEF", low_rest);
  any_two(low_rest, to);
}

// How far into a character of UTF-8 the bytes of a key are.
struct Utf8Place {
  uint8_t missing = 0;                          // bytes
  uint8_t next_first = 0x80, next_last = 0xBF;  // of them
  auto operator<=>(const Utf8Place&) const = default;
};

struct Utf8Step {
  uint8_t first, last;
  Utf8Place to;
};

// The bytes of an unescaped character at this place.
std::vector<Utf8Step> utf8_steps(const Utf8Place& at) {
  if (at.missing > 0) {
    return {{at.next_first, at.next_last, {static_cast<uint8_t>(at.missing - 1)}}};
  }
  return {{0x20, 0x21, {}},
          {0x23, 0x5B, {}},
          {0x5D, 0x7F, {}},
          {0xC2, 0xDF, {1}},
          {0xE0, 0xE0, {2, 0xA0, 0xBF}},
          {0xE1, 0xEC, {2}},
          {0xED, 0xED, {2, 0x80, 0x9F}},
          {0xEE, 0xEF, {2}},
          {0xF0, 0xF0, {3, 0x90, 0xBF}},
          {0xF1, 0xF3, {3}},
          {0xF4, 0xF4, {3, 0x80, 0x8F}}};
}

// Keys without escapes that are none of the declared ones: a tree of the declared names, left as
// soon as a byte differs.
class OtherKeys {
 public:
  OtherKeys(ByteNfa& nfa, WorkBudget& budget) : nfa_(nfa), budget_(budget) {}

  // From behind the opening quote to behind the closing one.
  Status add(uint32_t from, const std::vector<Alternative::Property>& declared, uint32_t to) {
    branches_.push_back({from, {}, {}, false});
    for (const auto& property : declared) {
      HADAL_TRY_VOID(budget_.spend(property.name.size()));
      insert(property.name);
    }
    for (size_t i = 0; i < branches_.size(); ++i) {
      HADAL_TRY_VOID(budget_.spend(16));
      const Branch branch = branches_[i];
      if (branch.place.missing == 0 && !branch.is_name) nfa_.add_range(branch.node, '"', '"', to);
      for (const Utf8Step& step : utf8_steps(branch.place)) add_step(branch, step);
    }
    for (size_t i = 0; i < free_.size(); ++i) {
      const auto [place, node] = free_[i];
      if (place.missing == 0) nfa_.add_range(node, '"', '"', to);
      for (const Utf8Step& step : utf8_steps(place)) {
        nfa_.add_range(node, step.first, step.last, free_node(step.to));
      }
    }
    return {};
  }

 private:
  struct Branch {
    uint32_t node;
    Utf8Place place;
    std::map<uint8_t, size_t> next;
    bool is_name;
  };

  // Names with a character that must be escaped are no danger: such a key cannot be written.
  void insert(const std::string& name) {
    size_t at = 0;
    for (const char c : name) {
      const auto byte = static_cast<uint8_t>(c);
      const auto known = branches_[at].next.find(byte);
      if (known != branches_[at].next.end()) {
        at = known->second;
        continue;
      }
      const auto steps = utf8_steps(branches_[at].place);
      const auto step = std::find_if(steps.begin(), steps.end(), [byte](const Utf8Step& s) {
        return byte >= s.first && byte <= s.last;
      });
      if (step == steps.end()) return;
      branches_[at].next.emplace(byte, branches_.size());
      at = branches_.size();
      branches_.push_back({nfa_.add_node(), step->to, {}, false});
    }
    branches_[at].is_name = true;
  }

  void add_step(const Branch& branch, const Utf8Step& step) {
    unsigned next = step.first;  // of the step, what is not added yet
    for (auto child = branch.next.lower_bound(step.first);
         child != branch.next.end() && child->first <= step.last; ++child) {
      if (next < child->first) add_free(branch.node, next, child->first - 1u, step.to);
      nfa_.add_range(branch.node, child->first, child->first, branches_[child->second].node);
      next = child->first + 1u;
    }
    if (next <= step.last) add_free(branch.node, next, step.last, step.to);
  }

  void add_free(uint32_t from, unsigned first, unsigned last, const Utf8Place& place) {
    nfa_.add_range(from, static_cast<uint8_t>(first), static_cast<uint8_t>(last), free_node(place));
  }

  uint32_t free_node(const Utf8Place& place) {
    for (const auto& [known, node] : free_) {
      if (known == place) return node;
    }
    free_.emplace_back(place, nfa_.add_node());
    return free_.back().second;
  }

  ByteNfa& nfa_;
  WorkBudget& budget_;
  std::vector<Branch> branches_;
  std::vector<std::pair<Utf8Place, uint32_t>> free_;  // of keys that differ from all names
};

}  // namespace

Status add_object(ByteNfa& nfa, uint32_t from, const Alternative& object, RuleNumbers& rules,
                  WorkBudget& budget, uint32_t to) {
  const auto& properties = object.properties;
  const size_t count = properties.size();
  // next[i]: before property i, or one behind it; next[count]: before an undeclared one.
  std::vector<uint32_t> next(count + 1);
  for (uint32_t& node : next) node = nfa.add_node();
  nfa.add_range(from, '{', '{', next[0]);

  size_t last_required = count;  // count: none
  for (size_t i = 0; i < count; ++i) {
    if (properties[i].is_required) last_required = i;
  }
  if (last_required == count) {
    const uint32_t open = nfa.add_node();  // no comma before: only here the object may be empty
    nfa.add_range(from, '{', '{', open);
    nfa.add_range(open, '}', '}', to);
  }
  for (size_t i = 0; i < count; ++i) {
    const std::string key = json_string(properties[i].name);
    HADAL_TRY_VOID(budget.spend(key.size()));
    const uint32_t value = add_separator(nfa, nfa.add_literal(next[i], key), ':');
    const uint32_t written = nfa.add_node();
    nfa.add_call(value, rules.of_goal(properties[i].goal), written);
    nfa.add_empty(add_separator(nfa, written, ','), next[i + 1]);
    if (last_required == count || i >= last_required) nfa.add_range(written, '}', '}', to);
    if (!properties[i].is_required) nfa.add_empty(next[i], next[i + 1]);
  }
  if (!object.other_properties) return {};
  const uint32_t key_end = nfa.add_node(), written = nfa.add_node();
  if (count == 0) {
    nfa.add_call(next[count], rules.of_string(0, Automaton::kUnbounded), key_end);
  } else {
    const uint32_t key = nfa.add_node();
    nfa.add_range(next[count], '"', '"', key);
    HADAL_TRY_VOID(OtherKeys(nfa, budget).add(key, properties, key_end));
  }
  nfa.add_call(add_separator(nfa, key_end, ':'), rules.of_goal(*object.other_properties), written);
  nfa.add_empty(add_separator(nfa, written, ','), next[count]);
  nfa.add_range(written, '}', '}', to);
  return {};
}

Status add_array(ByteNfa& nfa, uint32_t from, const Alternative& array, RuleNumbers& rules,
                 WorkBudget& budget, uint32_t to) {
  const bool is_bounded = array.items_written_max != kNoMaximum;
  const size_t last = is_bounded ? array.items_written_max
                                 : std::max<size_t>({array.first_items.size(), array.items_min, 1});
  uint32_t written = nfa.add_node();  // so many items
  nfa.add_range(from, '[', '[', written);
  if (array.items_min == 0) nfa.add_range(written, ']', ']', to);
  for (size_t i = 0; i < last; ++i) {
    HADAL_TRY_VOID(budget.spend(8));
    const Goal& goal = i < array.first_items.size() ? array.first_items[i] : *array.other_items;
    const uint32_t before = i == 0 ? written : add_separator(nfa, written, ',');
    written = nfa.add_node();
    nfa.add_call(before, rules.of_goal(goal), written);
    if (i + 1 >= array.items_min) nfa.add_range(written, ']', ']', to);
  }
  if (!is_bounded) {
    nfa.add_call(add_separator(nfa, written, ','), rules.of_goal(*array.other_items), written);
  }
  return {};
}

Result<Automaton::Rule> string_rule(uint32_t length_min, uint32_t length_max, WorkBudget& budget) {
  ByteNfa nfa;
  const uint32_t start = nfa.add_node(), body = nfa.add_node(), final = nfa.add_node();
  nfa.add_range(start, '"', '"', body);
  nfa.add_range(body, '"', '"', final);
  add_unescaped(nfa, body, body);
  add_escapes(nfa, body, body);
  Automaton::Rule rule;
  HADAL_TRY(rule.dfa, nfa.determinize(start, final, budget));
  rule.counted = rule.dfa.next(0, '"');
  rule.count_min = length_min;
  rule.count_max = length_max;
  return rule;
}

}  // namespace hadal
