// SchemaGoals, its second half: the keywords of subschemas that must all hold, made one.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"
#include "base/utf8.h"
#include "text/grammar/pattern.h"
#include "text/grammar/schema_goals.h"

namespace hadal {
namespace {

constexpr uint32_t kLookAheadMax = 8;  // required properties within required properties

std::optional<uint8_t> type_of_name(const SchemaJson& name) {
  if (name == "null") return kNullType;
  if (name == "boolean") return kBooleanType;
  if (name == "integer") return kIntegerType;
  if (name == "number") return kIntegerType | kFractionType;
  if (name == "string") return kStringType;
  if (name == "array") return kArrayType;
  if (name == "object") return kObjectType;
  return std::nullopt;
}

// The types that keywords speak of.
constexpr std::pair<const char*, uint8_t> kTypesMeant[] = {
    {"properties", kObjectType},
    {"required", kObjectType},
    {"additionalProperties", kObjectType},
    {"items", kArrayType},
    {"prefixItems", kArrayType},
    {"minItems", kArrayType},
    {"maxItems", kArrayType},
    {"minLength", kStringType},
    {"maxLength", kStringType},
    {"pattern", kStringType},
    {"format", kStringType},
    {"minimum", kIntegerType | kFractionType},
    {"maximum", kIntegerType | kFractionType},
    {"exclusiveMinimum", kIntegerType | kFractionType},
    {"exclusiveMaximum", kIntegerType | kFractionType},
};

Decimal decimal_of(const SchemaJson& number) {
  if (number.is_number_unsigned()) return Decimal::of(number.get<uint64_t>());
  if (number.is_number_integer()) return Decimal::of(number.get<int64_t>());
  return Decimal::of(number.get<double>());
}

uint8_t type_of(const SchemaJson& value) {
  if (value.is_null()) return kNullType;
  if (value.is_boolean()) return kBooleanType;
  if (value.is_number()) return decimal_of(value).fraction.empty() ? kIntegerType : kFractionType;
  if (value.is_string()) return kStringType;
  return value.is_array() ? kArrayType : kObjectType;
}

void add_to(Goal& goal, uint32_t number) {
  const uint32_t element = number * 2;
  const auto at = std::lower_bound(goal.begin(), goal.end(), element);
  if (at == goal.end() || *at != element) goal.insert(at, element);
}

size_t characters_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

Result<std::optional<Alternative>> SchemaGoals::join(const std::vector<uint32_t>& nodes) {
  const std::optional<Alternative> never;
  Alternative joined;
  std::optional<std::vector<uint32_t>> values;
  for (const uint32_t node : nodes) {
    HADAL_TRY_VOID(join_values(node, values));
    HADAL_TRY_VOID(join_numbers(node, joined));
    HADAL_TRY_VOID(join_strings(node, joined));
  }
  joined.lists_values = values.has_value();
  HADAL_TRY_VOID(join_types(nodes, joined));
  HADAL_TRY_VOID(join_items(nodes, joined));
  HADAL_TRY_VOID(join_properties(nodes, joined));
  joined.range.whole_only = (joined.types & kFractionType) == 0;
  if (joined.length_min > joined.length_max) joined.types &= ~kStringType;
  if (joined.items_min > joined.items_max) joined.types &= ~kArrayType;
  HADAL_TRY(const bool lacks, lacks_required(joined));
  if (lacks) joined.types &= ~kObjectType;
  if (joined.types == 0) return never;
  if (!values) return joined;
  for (const uint32_t value : *values) {
    HADAL_TRY(const bool holds_it, holds(document_.value(value), joined));
    if (holds_it) joined.values.push_back(value);
  }
  if (joined.values.empty()) return never;
  return joined;
}

Status SchemaGoals::join_types(const std::vector<uint32_t>& nodes, Alternative& to) const {
  bool are_given = false;
  uint8_t meant = 0;
  for (const uint32_t node : nodes) {
    for (const auto& [keyword, types] : kTypesMeant) {
      if (find(node, keyword) != nullptr) meant |= types;
    }
    const SchemaJson* type = find(node, "type");
    if (type == nullptr) continue;
    uint8_t types = 0;
    const auto add = [&](const SchemaJson& name) -> Status {
      const auto known = type_of_name(name);
      if (!known) {
        return fail(
            "{}: type must be null, boolean, integer, number, string, array, object or a "
            "list of these",
            place(node));
      }
      types |= *known;
      return {};
    };
    if (type->is_array()) {
      for (const SchemaJson& name : *type) HADAL_TRY_VOID(add(name));
    } else {
      HADAL_TRY_VOID(add(*type));
    }
    const SchemaJson* nullable = find(node, "nullable");
    if (nullable != nullptr && *nullable == true) types |= kNullType;
    to.types &= types;
    are_given = true;
  }
  if (!are_given && meant != 0 && !to.lists_values) to.types = meant;
  return {};
}

Status SchemaGoals::join_values(uint32_t node, std::optional<std::vector<uint32_t>>& values) const {
  const auto keep_common = [&](std::vector<uint32_t> listed) -> Status {
    if (!values) {
      values = std::move(listed);
      return {};
    }
    HADAL_TRY_VOID(budget_.spend(values->size() * listed.size()));
    std::erase_if(*values, [&](uint32_t known) {
      return std::none_of(listed.begin(), listed.end(), [&](uint32_t other) {
        return equal_values(document_.value(known), document_.value(other));
      });
    });
    return {};
  };
  if (const SchemaJson* value = find(node, "const")) {
    HADAL_TRY_VOID(keep_common({document_.number(*value)}));
  }
  if (const SchemaJson* list = find(node, "enum")) {
    if (!list->is_array()) return fail("{}: enum must be a list", place(node));
    if (list->size() > limits_.enum_values_max) {
      return fail("{}: enum has {} values; the limit is {}", place(node), list->size(),
                  limits_.enum_values_max);
    }
    std::vector<uint32_t> listed;
    for (const SchemaJson& value : *list) listed.push_back(document_.number(value));
    HADAL_TRY_VOID(keep_common(std::move(listed)));
  }
  return {};
}

Status SchemaGoals::join_numbers(uint32_t node, Alternative& to) const {
  struct Keyword {
    const char* name;
    bool is_lower, is_exclusive;
  };
  for (const auto& [name, is_lower, is_exclusive] :
       {Keyword{"minimum", true, false}, Keyword{"exclusiveMinimum", true, true},
        Keyword{"maximum", false, false}, Keyword{"exclusiveMaximum", false, true}}) {
    const SchemaJson* given = find(node, name);
    if (given == nullptr) continue;
    if (!given->is_number()) return fail("{}: {} must be a number", place(node), name);
    DecimalBound bound = {decimal_of(*given), is_exclusive};
    const bool is_out_of_reach = bound.value.whole.size() > DecimalRange::kWholeDigitsMax;
    if (bound.value.fraction.size() > DecimalRange::kBoundFractionMax ||
        (is_out_of_reach && bound.value.negative != is_lower)) {
      return fail("{}: {} {} has more digits than are supported ({} before the point, {} behind)",
                  place(node), name, json_text(*given), DecimalRange::kWholeDigitsMax,
                  DecimalRange::kBoundFractionMax);
    }
    auto& known = is_lower ? to.range.lower : to.range.upper;
    const int order = known ? compare(bound.value, known->value) : 0;
    const bool is_stricter = is_lower ? order > 0 : order < 0;
    if (!known || is_stricter || (order == 0 && is_exclusive)) known = std::move(bound);
  }
  return {};
}

Status SchemaGoals::join_strings(uint32_t node, Alternative& to) const {
  HADAL_TRY(const uint32_t length_min, count_of(node, "minLength", limits_.length_max));
  HADAL_TRY(const uint32_t length_max, count_of(node, "maxLength", limits_.length_max));
  if (length_min != kNoMaximum) to.length_min = std::max(to.length_min, length_min);
  to.length_max = std::min(to.length_max, length_max);
  const auto add_pattern = [&](std::string source) {
    Alternative::Pattern pattern = {std::move(source), node};
    const bool is_known =
        std::any_of(to.patterns.begin(), to.patterns.end(),
                    [&](const auto& known) { return known.source == pattern.source; });
    if (!is_known) to.patterns.push_back(std::move(pattern));
  };
  if (const SchemaJson* pattern = find(node, "pattern")) {
    if (!pattern->is_string()) return fail("{}: pattern must be a string", place(node));
    add_pattern(pattern->get<std::string>());
  }
  if (const SchemaJson* format = find(node, "format")) {
    if (!format->is_string()) return fail("{}: format must be a string", place(node));
    const auto& name = format->get_ref<const std::string&>();
    const char* pattern = pattern_of_format(name);
    if (pattern == nullptr) {
      return fail("{}: the format {} is not supported; these are: {}", place(node), quote(name),
                  known_formats());
    }
    add_pattern(pattern);
  }
  return {};
}

Status SchemaGoals::join_items(const std::vector<uint32_t>& nodes, Alternative& to) const {
  struct Lists {
    const SchemaJson* first = nullptr;
    const SchemaJson* others = nullptr;
  };
  std::vector<Lists> all;
  size_t first_count = 0;
  bool names_others = false;
  for (const uint32_t node : nodes) {
    HADAL_TRY(const uint32_t items_min, count_of(node, "minItems", limits_.items_max));
    HADAL_TRY(const uint32_t items_max, count_of(node, "maxItems", limits_.items_max));
    if (items_min != kNoMaximum) to.items_min = std::max(to.items_min, items_min);
    to.items_max = std::min(to.items_max, items_max);
    Lists lists{find(node, "prefixItems"), find(node, "items")};
    if (lists.others != nullptr && lists.others->is_array()) {
      if (lists.first != nullptr) {
        return fail("{}: items is a list beside prefixItems", place(node));
      }
      lists = {lists.others, find(node, "additionalItems")};
    }
    if (lists.first != nullptr && !lists.first->is_array()) {
      return fail("{}: prefixItems must be a list", place(node));
    }
    if (lists.first != nullptr) first_count = std::max(first_count, lists.first->size());
    names_others = names_others || lists.others != nullptr;
    all.push_back(lists);
  }
  const auto goal_at = [&](size_t index) {
    Goal goal;
    for (const Lists& lists : all) {
      if (lists.first != nullptr && index < lists.first->size()) {
        add_to(goal, document_.number((*lists.first)[index]));
      } else if (lists.others != nullptr) {
        add_to(goal, document_.number(*lists.others));
      }
    }
    return goal;
  };
  to.items_written_max = to.items_max;
  if (!names_others && first_count > 0) {
    const auto declared = std::max(to.items_min, static_cast<uint32_t>(first_count));
    to.items_written_max = std::min(to.items_max, declared);
  }
  HADAL_TRY_VOID(budget_.spend(first_count * all.size()));
  for (size_t i = 0; i < first_count; ++i) to.first_items.push_back(goal_at(i));
  to.other_items = goal_at(first_count);
  return {};
}

Status SchemaGoals::join_properties(const std::vector<uint32_t>& nodes, Alternative& to) const {
  struct Part {
    const SchemaJson* properties;
    const SchemaJson* others;
  };
  std::vector<Part> parts;
  std::map<std::string_view, size_t> places;  // of names in to.properties
  bool names_properties = false, names_others = false;
  const auto declare = [&](const std::string& name) -> Alternative::Property& {
    const auto [known, is_new] = places.try_emplace(name, to.properties.size());
    if (is_new) to.properties.push_back({name, {}, false});
    return to.properties[known->second];
  };
  for (const uint32_t node : nodes) {
    const Part part = {find(node, "properties"), find(node, "additionalProperties")};
    names_others = names_others || part.others != nullptr;
    if (part.properties != nullptr) {
      names_properties = true;
      if (!part.properties->is_object())
        return fail("{}: properties must be an object", place(node));
      for (const auto& [name, schema] : part.properties->items()) declare(name);
    }
    parts.push_back(part);
  }
  for (const uint32_t node : nodes) {
    const SchemaJson* required = find(node, "required");
    if (required == nullptr) continue;
    if (!required->is_array()) return fail("{}: required must be a list of names", place(node));
    for (const SchemaJson& name : *required) {
      if (!name.is_string()) return fail("{}: required must be a list of names", place(node));
      declare(name.get_ref<const std::string&>()).is_required = true;
    }
  }
  HADAL_TRY_VOID(budget_.spend(parts.size() * to.properties.size()));
  for (auto& property : to.properties) {
    for (const Part& part : parts) {
      if (part.properties != nullptr && part.properties->contains(property.name)) {
        add_to(property.goal, document_.number((*part.properties)[property.name]));
      } else if (part.others != nullptr) {
        add_to(property.goal, document_.number(*part.others));
      }
    }
  }
  if (names_properties && !names_others) return {};
  to.other_properties.emplace();
  for (const Part& part : parts) {
    if (part.others != nullptr) add_to(*to.other_properties, document_.number(*part.others));
  }
  return {};
}

// A required property whose goal evidently has no value.
Result<bool> SchemaGoals::lacks_required(const Alternative& alternative) {
  if ((alternative.types & kObjectType) == 0 || depth_ >= kLookAheadMax) return false;
  for (const auto& property : alternative.properties) {
    if (!property.is_required || in_progress_.contains(property.goal)) continue;
    HADAL_TRY(const auto* ways, alternatives(property.goal));
    if (ways->empty()) return true;
  }
  return false;
}

Result<bool> SchemaGoals::holds(const SchemaJson& value, const Goal& goal) {
  if (in_progress_.contains(goal)) {
    return fail("{}: enum or const inside a value whose schema leads back to it is not supported",
                goal.empty() ? "#" : place(goal[0] / 2));
  }
  HADAL_TRY(const auto* ways, alternatives(goal));
  for (const Alternative& way : *ways) {
    bool is_listed = !way.lists_values;
    for (const uint32_t listed : way.values) {
      is_listed = is_listed || equal_values(value, document_.value(listed));
    }
    HADAL_TRY_VOID(budget_.spend(1 + way.values.size()));
    if (!is_listed) continue;
    HADAL_TRY(const bool holds_it, holds(value, way));
    if (holds_it) return true;
  }
  return false;
}

// Apart from way.values.
Result<bool> SchemaGoals::holds(const SchemaJson& value, const Alternative& way) {
  HADAL_TRY_VOID(budget_.spend(1));
  if ((type_of(value) & way.types) == 0) return false;
  if (value.is_number()) return way.range.contains(decimal_of(value));
  if (value.is_string()) return holds_string(value.get_ref<const std::string&>(), way);
  if (value.is_array()) {
    if (value.size() < way.items_min || value.size() > way.items_max) return false;
    for (size_t i = 0; i < value.size(); ++i) {
      const Goal& goal = i < way.first_items.size() ? way.first_items[i] : *way.other_items;
      HADAL_TRY(const bool holds_it, holds(value[i], goal));
      if (!holds_it) return false;
    }
  }
  if (!value.is_object()) return true;
  for (const auto& property : way.properties) {
    const auto found = value.find(property.name);
    if (found == value.end() && property.is_required) return false;
    if (found == value.end()) continue;
    HADAL_TRY(const bool holds_it, holds(*found, property.goal));
    if (!holds_it) return false;
  }
  for (const auto& [key, child] : value.items()) {
    const bool is_declared = std::any_of(way.properties.begin(), way.properties.end(),
                                         [&key](const auto& known) { return known.name == key; });
    HADAL_TRY_VOID(budget_.spend(1 + way.properties.size()));
    if (is_declared) continue;
    if (!way.other_properties) continue;
    HADAL_TRY(const bool holds_it, holds(child, *way.other_properties));
    if (!holds_it) return false;
  }
  return true;
}

Result<bool> SchemaGoals::holds_string(const std::string& value, const Alternative& way) {
  const size_t characters = characters_of(value);
  if (characters < way.length_min || characters > way.length_max) return false;
  for (const auto& source : way.patterns) {
    HADAL_TRY(const Dfa* dfa, pattern(source));
    HADAL_TRY_VOID(budget_.spend(value.size()));
    if (!dfa->matches(value)) return false;
  }
  return true;
}

// A keyword that counts; kNoMaximum where it is not there.
Result<uint32_t> SchemaGoals::count_of(uint32_t node, const char* keyword, uint32_t limit) const {
  const SchemaJson* given = find(node, keyword);
  if (given == nullptr) return kNoMaximum;
  const Decimal count = given->is_number() ? decimal_of(*given) : Decimal{.negative = true};
  if (count.negative || !count.fraction.empty()) {
    return fail("{}: {} must be a whole number, not negative", place(node), keyword);
  }
  if (compare(count, Decimal::of(uint64_t{limit})) > 0) {
    return fail("{}: {} is {}; the limit is {}", place(node), keyword, json_text(*given), limit);
  }
  return static_cast<uint32_t>(std::stoul(count.whole));
}

}  // namespace hadal
