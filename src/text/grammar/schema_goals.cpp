#include "text/grammar/schema_goals.h"

#include <algorithm>

#include "base/json.h"
#include "base/utf8.h"
#include "text/grammar/pattern.h"

namespace hadal {
namespace {

constexpr uint32_t kNoLink = UINT32_MAX;

constexpr std::string_view kEnforced[] = {
    "type",     "enum",      "const",      "minimum",  "maximum",     "exclusiveMinimum",
    "pattern",  "minLength", "maxLength",  "format",   "items",       "exclusiveMaximum",
    "minItems", "maxItems",  "properties", "required", "prefixItems", "additionalProperties",
    "$ref",     "allOf",     "anyOf",      "oneOf",    "nullable",    "additionalItems"};

constexpr std::string_view kAnnotations[] = {
    "$schema",  "$comment",    "$defs",      "definitions", "$anchor",         "$dynamicAnchor",
    "title",    "description", "default",    "examples",    "contentEncoding", "contentMediaType",
    "readOnly", "writeOnly",   "deprecated", "example",     "contentSchema",   "discriminator"};

bool is_one_of(std::string_view key, std::span<const std::string_view> keys) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

Goal normal(Goal goal) {
  std::sort(goal.begin(), goal.end());
  goal.erase(std::unique(goal.begin(), goal.end()), goal.end());
  return goal;
}

}  // namespace

const SchemaJson* SchemaGoals::find(uint32_t node, const char* keyword) const {
  const SchemaJson& schema = document_.value(node);
  const auto found = schema.find(keyword);
  return found == schema.end() ? nullptr : &*found;
}

Result<const std::vector<Alternative>*> SchemaGoals::alternatives(const Goal& goal) {
  if (const auto known = known_.find(goal); known != known_.end()) return &known->second;
  if (known_.size() >= limits_.rules_max) {
    return fail("the schema has more than {} different values, which is the limit",
                limits_.rules_max);
  }
  HADAL_TRY_VOID(budget_.spend(1 + goal.size()));
  if (++depth_ > kGoalsDepthMax) {
    return fail("{}: enum, const or required properties within each other more than {} deep",
                goal.empty() ? "#" : place(goal[0] / 2), kGoalsDepthMax);
  }
  in_progress_.insert(goal);
  links_.clear();
  Draft draft;
  for (const uint32_t element : goal) HADAL_TRY_VOID(add(draft, element, kNoLink));
  std::vector<Alternative> made;
  HADAL_TRY_VOID(choose(draft, made));
  in_progress_.erase(goal);
  --depth_;
  return &known_.emplace(goal, std::move(made)).first->second;
}

Status SchemaGoals::add(Draft& draft, uint32_t element, uint32_t link) {
  const uint32_t number = element / 2;
  HADAL_TRY_VOID(budget_.spend(1));
  if (!draft.seen.insert(element).second) {
    for (uint32_t at = link; at != kNoLink; at = links_[at].parent) {
      if (links_[at].element != element) continue;
      return fail("{}: $ref leads back to itself without a value in between", place(number));
    }
    return {};
  }
  const SchemaJson& schema = document_.value(number);
  if (schema.is_boolean()) {
    draft.is_never = draft.is_never || !schema.get<bool>();
    return {};
  }
  if (!schema.is_object()) {
    return fail("{}: a schema is an object, true or false", place(number));
  }
  HADAL_TRY_VOID(check_keywords(number));
  draft.nodes.push_back(number);
  if (element % 2 == 1) return {};
  const auto own_link = static_cast<uint32_t>(links_.size());
  const uint32_t depth = link == kNoLink ? 0 : links_[link].depth + 1;
  if (depth > kReferencesMax) {
    return fail("{}: more than {} references and alternatives in a row", place(number),
                kReferencesMax);
  }
  links_.push_back({element, link, depth});
  return add_parts(draft, number, own_link);
}

Status SchemaGoals::add_parts(Draft& draft, uint32_t owner, uint32_t link) {
  if (const SchemaJson* reference = find(owner, "$ref")) {
    if (!reference->is_string()) return fail("{}: $ref must be a string", place(owner));
    auto target = document_.resolve(reference->get_ref<const std::string&>());
    if (!target) return fail("{}: {}", place(owner), target.error().message);
    HADAL_TRY_VOID(add(draft, *target * 2, link));
  }
  for (const char* keyword : {"allOf", "anyOf", "oneOf"}) {
    const SchemaJson* list = find(owner, keyword);
    if (list == nullptr) continue;
    if (!list->is_array() || list->empty()) {
      return fail("{}: {} must be a list of schemas, not empty", place(owner), keyword);
    }
    if (keyword != std::string_view("allOf")) {
      draft.choices.push_back({document_.number(*list), owner, link});
      continue;
    }
    for (const SchemaJson& part : *list) {
      HADAL_TRY_VOID(add(draft, document_.number(part) * 2, link));
    }
  }
  return {};
}

Status SchemaGoals::check_keywords(uint32_t number) const {
  for (const auto& [key, value] : document_.value(number).items()) {
    HADAL_TRY_VOID(budget_.spend(1));
    if (is_one_of(key, kEnforced) || is_one_of(key, kAnnotations) || key.starts_with("x-"))
      continue;
    if (key == "$id" && number == 0) continue;
    if (key == "uniqueItems" && value == false) continue;
    if ((key == "minProperties" || key == "minContains") && value == 0) continue;
    return fail("{}: the keyword {} is not supported", place(number), quote(key));
  }
  return {};
}

// One branch for each choice, in all combinations.
Status SchemaGoals::choose(const Draft& draft, std::vector<Alternative>& made) {
  if (draft.is_never) return {};
  if (draft.choices_made == draft.choices.size()) {
    if (made.size() >= limits_.alternatives_max) {
      return fail("{}: anyOf and oneOf together give more than {} alternatives, which is the limit",
                  draft.nodes.empty() ? "#" : place(draft.nodes[0]), limits_.alternatives_max);
    }
    std::vector<Link> links = links_;  // joining looks into other goals, which have their own
    HADAL_TRY(auto joined, join(draft.nodes));
    links_ = std::move(links);
    if (joined) made.push_back(std::move(*joined));
    return {};
  }
  if (draft.choices.size() > kChoicesMax) {
    return fail("{}: more than {} anyOf and oneOf must hold for one value",
                place(draft.choices[0].owner), kChoicesMax);
  }
  const Choice choice = draft.choices[draft.choices_made];
  const SchemaJson& branches = document_.value(choice.branches);
  if (branches.size() > limits_.alternatives_max) {
    return fail("{}: more than {} alternatives, which is the limit", place(choice.branches),
                limits_.alternatives_max);
  }
  if (find(choice.owner, "oneOf") == &branches) HADAL_TRY_VOID(exclude_branches(choice));
  for (const SchemaJson& branch : branches) {
    HADAL_TRY_VOID(budget_.spend(1 + draft.nodes.size()));
    Draft chosen = draft;
    ++chosen.choices_made;
    HADAL_TRY_VOID(add(chosen, document_.number(branch) * 2, choice.link));
    HADAL_TRY_VOID(choose(chosen, made));
  }
  return {};
}

Status SchemaGoals::exclude_branches(const Choice& choice) {
  for (const Exclusion& known : exclusions_) {
    if (known.owner == choice.branches) return {};
  }
  const SchemaJson& branches = document_.value(choice.branches);
  for (size_t i = 0; i < branches.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      HADAL_TRY_VOID(budget_.spend(1));
      exclusions_.push_back({normal({choice.owner * 2 + 1, document_.number(branches[i]) * 2,
                                     document_.number(branches[j]) * 2}),
                             choice.branches});
    }
  }
  return {};
}

Result<const Dfa*> SchemaGoals::pattern(const Alternative::Pattern& pattern) {
  const auto known = patterns_.find(pattern.source);
  if (known != patterns_.end()) return &known->second;
  auto dfa = compile_pattern(pattern.source,
                             {limits_.pattern_bytes_max, limits_.pattern_repeats_max}, budget_);
  if (!dfa) {
    return fail("{}: the pattern {} is not supported: {}", place(pattern.owner),
                quote(pattern.source), dfa.error().message);
  }
  return &patterns_.emplace(pattern.source, std::move(*dfa)).first->second;
}

}  // namespace hadal
