// Filters on lists, dicts and what else can be iterated over.
#include <algorithm>

#include "text/template/jinja_interpreter.h"
#include "text/template/jinja_operators.h"

namespace hadal::jinja {
namespace {

// --- attribute="user.name": items within items, as the filters name them ---

using AttributePath = std::vector<Value>;

Result<AttributePath> attribute_path(Interpreter& interpreter, const Value& attribute) {
  AttributePath path;
  if (attribute.is_none()) return path;
  if (!attribute.is_string()) return AttributePath{attribute};
  for (Text& part : split(attribute.text(), ".", -1)) {
    const std::string& name = part.bytes();
    const bool number = !name.empty() && name.size() < 10 &&
                        name.find_first_not_of("0123456789") == std::string::npos;
    if (number) {
      path.push_back(Value::integer(std::stoll(name)));
    } else {
      HADAL_TRY(Value key, interpreter.string(std::move(part)));
      path.push_back(std::move(key));
    }
  }
  return path;
}

Result<Value> follow(Interpreter& interpreter, const AttributePath& path, Value value,
                     const Value* fallback = nullptr) {
  for (const Value& key : path) {
    HADAL_TRY_VOID(interpreter.budget().step());
    HADAL_TRY(value, interpreter.item(value, key));
    if (fallback != nullptr && value.is_undefined()) value = *fallback;
  }
  return value;
}

Result<Value> without_case(Interpreter& interpreter, const Value& value) {
  if (!value.is_string()) return value;
  return interpreter.string(map_case(value.text(), CaseMapping::lower));
}

// The key an item is compared by: its attribute, in lower case unless that matters.
Result<Value> comparison_key(Interpreter& interpreter, const AttributePath& path, const Value& item,
                             bool case_sensitive) {
  HADAL_TRY(Value key, follow(interpreter, path, item));
  if (case_sensitive) return key;
  return without_case(interpreter, key);
}

// --- one out of many ---

Result<Value> filter_length(Interpreter&, const Value& value, const Arguments&) {
  HADAL_TRY(const size_t count, length(value));
  return Value::integer(static_cast<int64_t>(count));
}

Result<Value> filter_first(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is_string() && !value.text().empty()) {
    const size_t end = code_point_at(value.text().view(), 0).bytes;
    return interpreter.string(value.text().slice(0, end));
  }
  if (value.is(Kind::iterator)) {  // takes just one
    IteratorObject& iterator = value.iterator();
    if (iterator.next < iterator.items.size()) return iterator.items[iterator.next++];
  }
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  if (items.empty()) return make_undefined("no first item, the sequence was empty");
  return items.front();
}

Result<Value> filter_last(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is(Kind::iterator)) return fail("a generator has no last item");
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  if (items.empty()) return make_undefined("no last item, the sequence was empty");
  return items.back();
}

template <Operator kBetter>
Result<Value> filter_extreme(Interpreter& interpreter, const Value& value,
                             const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("min", arguments, {"case_sensitive", "attribute"}));
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  if (items.empty()) return make_undefined("no aggregated item, the sequence was empty");
  HADAL_TRY(const AttributePath path,
            attribute_path(interpreter, bound.has(1) ? bound[1] : Value::none()));
  const bool case_sensitive = bound.truth_or(0, false);
  size_t best = 0;
  HADAL_TRY(Value best_key, comparison_key(interpreter, path, items[0], case_sensitive));
  for (size_t i = 1; i < items.size(); i++) {
    HADAL_TRY(Value key, comparison_key(interpreter, path, items[i], case_sensitive));
    HADAL_TRY(const bool better, compare(interpreter.budget(), kBetter, key, best_key));
    if (!better) continue;
    best = i;
    best_key = std::move(key);
  }
  return items[best];
}

Result<Value> filter_sum(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("sum", arguments, {"attribute", "start"}));
  HADAL_TRY(const AttributePath path,
            attribute_path(interpreter, bound.has(0) ? bound[0] : Value::none()));
  Value sum = bound.has(1) ? bound[1] : Value::integer(0);
  if (sum.is_string()) return fail("sum() does not add strings, join() does");
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  for (const Value& item : items) {
    HADAL_TRY(const Value addend, follow(interpreter, path, item));
    HADAL_TRY(sum, arithmetic(interpreter.budget(), Operator::add, sum, addend));
  }
  return sum;
}

Result<Value> filter_join(Interpreter& interpreter, const Value& value,
                          const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("join", arguments, {"d", "attribute"}));
  Text between;
  if (bound.has(0)) {
    HADAL_TRY(between, to_text(interpreter.budget(), bound[0]));
  }
  HADAL_TRY(const AttributePath path,
            attribute_path(interpreter, bound.has(1) ? bound[1] : Value::none()));
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  Text result;
  for (size_t i = 0; i < items.size(); i++) {
    HADAL_TRY(const Value item, follow(interpreter, path, items[i]));
    HADAL_TRY(const Text text, to_text(interpreter.budget(), item));
    HADAL_TRY_VOID(interpreter.budget().room_for(result.size() + between.size() + text.size()));
    HADAL_TRY_VOID(interpreter.budget().step_for_bytes(between.size() + text.size()));
    if (i > 0) result.append(between);
    result.append(text);
  }
  return interpreter.string(std::move(result));
}

// --- many out of many ---

Result<Value> filter_list(Interpreter& interpreter, const Value& value, const Arguments&) {
  HADAL_TRY(std::vector<Value> items, iterate(interpreter.budget(), value));
  return make_list(&interpreter.budget(), std::move(items));
}

Result<Value> filter_items(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is_undefined()) return make_iterator(&interpreter.budget(), {});
  if (!value.is(Kind::dict)) return fail("a {} has no pairs of keys and values", type_name(value));
  HADAL_TRY(const Value view, make_view(&interpreter.budget(), value, ViewKind::items));
  HADAL_TRY(std::vector<Value> items, iterate(interpreter.budget(), view));
  return make_iterator(&interpreter.budget(), std::move(items));
}

Result<Value> filter_reverse(Interpreter& interpreter, const Value& value, const Arguments&) {
  if (value.is_string()) return slice(interpreter.budget(), value, {.step = -1});
  HADAL_TRY(std::vector<Value> items, iterate(interpreter.budget(), value));
  std::reverse(items.begin(), items.end());
  if (value.is(Kind::iterator)) return make_list(&interpreter.budget(), std::move(items));
  return make_iterator(&interpreter.budget(), std::move(items));
}

Result<Value> sorted(Interpreter& interpreter, std::vector<Keyed> keyed,
                     const SortOptions& options) {
  HADAL_TRY_VOID(sort_by_keys(interpreter.budget(), keyed, options));
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return make_list(&interpreter.budget(), std::move(items));
}

Result<Value> filter_sort(Interpreter& interpreter, const Value& value,
                          const Arguments& arguments) {
  HADAL_TRY(const Bound bound,
            Bound::bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  std::vector<AttributePath> paths;
  if (bound.has(2) && bound[2].is_string()) {
    for (Text& name : split(bound[2].text(), ",", -1)) {
      HADAL_TRY(const Value attribute, interpreter.string(std::move(name)));
      HADAL_TRY(AttributePath path, attribute_path(interpreter, attribute));
      paths.push_back(std::move(path));
    }
  } else {
    HADAL_TRY(AttributePath path,
              attribute_path(interpreter, bound.has(2) ? bound[2] : Value::none()));
    paths.push_back(std::move(path));
  }
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    Keyed entry{.keys = {}, .item = item};
    for (const AttributePath& path : paths) {
      HADAL_TRY(Value key, comparison_key(interpreter, path, item, bound.truth_or(1, false)));
      entry.keys.push_back(std::move(key));
    }
    keyed.push_back(std::move(entry));
  }
  return sorted(interpreter, std::move(keyed), {.reverse = bound.truth_or(0, false)});
}

Result<Value> filter_dictsort(Interpreter& interpreter, const Value& value,
                              const Arguments& arguments) {
  HADAL_TRY(const Bound bound,
            Bound::bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  if (!value.is(Kind::dict)) return fail("dictsort of a {}", type_name(value));
  std::string by = "key";
  if (bound.has(1) && bound[1].is_string()) by = bound[1].text().bytes();
  if (by != "key" && by != "value") return fail("dictsort sorts by 'key' or 'value'");
  std::vector<Keyed> keyed;
  for (const auto& [key, entry] : value.dict().entries) {
    const Value& compared = by == "key" ? key : entry;
    Value sort_key = compared;
    if (!bound.truth_or(0, false)) {
      HADAL_TRY(sort_key, without_case(interpreter, compared));
    }
    HADAL_TRY(Value pair, make_tuple(&interpreter.budget(), {key, entry}));
    keyed.push_back({.keys = {std::move(sort_key)}, .item = std::move(pair)});
  }
  return sorted(interpreter, std::move(keyed),
                {.reverse = bound.truth_or(2, false), .plain_keys = true});
}

Result<Value> filter_unique(Interpreter& interpreter, const Value& value,
                            const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("unique", arguments, {"case_sensitive", "attribute"}));
  HADAL_TRY(const AttributePath path,
            attribute_path(interpreter, bound.has(1) ? bound[1] : Value::none()));
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  std::vector<Value> seen;
  std::vector<Value> kept;
  for (const Value& item : items) {
    HADAL_TRY(Value key, comparison_key(interpreter, path, item, bound.truth_or(0, false)));
    if (key.is(Kind::list) || key.is(Kind::dict)) {
      return fail("unique() cannot compare a {}", type_name(key));
    }
    bool known = false;
    for (size_t i = 0; i < seen.size() && !known; i++) {
      HADAL_TRY(known, equals(interpreter.budget(), seen[i], key));
    }
    if (known) continue;
    seen.push_back(std::move(key));
    kept.push_back(item);
  }
  return make_iterator(&interpreter.budget(), std::move(kept));
}

Result<Value> filter_map(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  std::vector<Value> results;
  if (!truth(value)) return make_iterator(&interpreter.budget(), {});
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  if (!arguments.positional.empty()) {
    const Value& name = arguments.positional[0];
    if (!name.is_string()) return fail("map() needs the name of a filter");
    Arguments rest{.positional = {arguments.positional.begin() + 1, arguments.positional.end()},
                   .named = arguments.named};
    for (const Value& item : items) {
      HADAL_TRY(Value result, interpreter.filter(name.text().view(), item, rest));
      results.push_back(std::move(result));
    }
    return make_iterator(&interpreter.budget(), std::move(results));
  }
  HADAL_TRY(const Bound bound, Bound::bind("map", arguments, {"attribute", "default"}, 1));
  HADAL_TRY(const AttributePath path, attribute_path(interpreter, bound[0]));
  const Value* fallback = bound.is_none(1) ? nullptr : &bound[1];
  for (const Value& item : items) {
    HADAL_TRY(Value result, follow(interpreter, path, item, fallback));
    results.push_back(std::move(result));
  }
  return make_iterator(&interpreter.budget(), std::move(results));
}

enum class Keep : uint8_t { passing, failing };
enum class LookAt : uint8_t { item, attribute };

template <Keep kKeep, LookAt kLookAt>
Result<Value> filter_select(Interpreter& interpreter, const Value& value,
                            const Arguments& arguments) {
  if (!truth(value)) return make_iterator(&interpreter.budget(), {});
  Arguments rest{.positional = {}, .named = arguments.named};
  size_t used = 0;
  AttributePath path;
  if (kLookAt == LookAt::attribute) {
    if (arguments.positional.empty()) return fail("selectattr() needs the name of an attribute");
    HADAL_TRY(path, attribute_path(interpreter, arguments.positional[used++]));
  }
  std::optional<std::string> test;
  if (used < arguments.positional.size()) {
    if (!arguments.positional[used].is_string()) return fail("select() needs a test's name");
    test = arguments.positional[used++].text().bytes();
  }
  rest.positional.assign(arguments.positional.begin() + static_cast<ptrdiff_t>(used),
                         arguments.positional.end());
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  std::vector<Value> kept;
  for (const Value& item : items) {
    HADAL_TRY(const Value looked_at, follow(interpreter, path, item));
    bool passed = truth(looked_at);
    if (test) {
      HADAL_TRY(passed, interpreter.test(*test, looked_at, rest));
    }
    if (passed == (kKeep == Keep::passing)) kept.push_back(item);
  }
  return make_iterator(&interpreter.budget(), std::move(kept));
}

// --- groups ---

Result<Value> filter_groupby(Interpreter& interpreter, const Value& value,
                             const Arguments& arguments) {
  HADAL_TRY(const Bound bound,
            Bound::bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  HADAL_TRY(const AttributePath path, attribute_path(interpreter, bound[0]));
  const Value* fallback = bound.is_none(1) ? nullptr : &bound[1];
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    HADAL_TRY(Value key, follow(interpreter, path, item, fallback));
    if (!bound.truth_or(2, false)) {
      HADAL_TRY(key, without_case(interpreter, key));
    }
    keyed.push_back({.keys = {std::move(key)}, .item = item});
  }
  HADAL_TRY_VOID(sort_by_keys(interpreter.budget(), keyed, {.plain_keys = true}));
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    std::vector<Value> members;
    size_t end = begin;
    for (bool same = true; same && end < keyed.size();) {
      members.push_back(keyed[end++].item);
      if (end == keyed.size()) break;
      HADAL_TRY(same, equals(interpreter.budget(), keyed[begin].keys[0], keyed[end].keys[0]));
    }
    HADAL_TRY(Value grouper, follow(interpreter, path, members[0], fallback));
    HADAL_TRY(Value list, make_list(&interpreter.budget(), std::move(members)));
    HADAL_TRY(Value group, make_tuple(&interpreter.budget(), {grouper, list}));
    groups.push_back(std::move(group));
    begin = end;
  }
  return make_list(&interpreter.budget(), std::move(groups));
}

Result<Value> filter_batch(Interpreter& interpreter, const Value& value,
                           const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("batch", arguments, {"linecount", "fill_with"}, 1));
  HADAL_TRY(const int64_t size, bound.integer_or(0, 0));
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  if (size < 1) return fail("batch() of {} items", size);
  const auto width = static_cast<size_t>(size);
  std::vector<Value> batches;
  for (size_t begin = 0; begin < items.size(); begin += std::min(width, items.size())) {
    const size_t end = std::min(items.size(), begin + std::min(width, items.size()));
    std::vector<Value> batch(items.begin() + static_cast<ptrdiff_t>(begin),
                             items.begin() + static_cast<ptrdiff_t>(end));
    if (!bound.is_none(1) && batch.size() < width) {
      HADAL_TRY_VOID(
          interpreter.budget().room_for(std::min(width, SIZE_MAX / sizeof(Value)) * sizeof(Value)));
      batch.resize(width, bound[1]);
    }
    HADAL_TRY(Value list, make_list(&interpreter.budget(), std::move(batch)));
    batches.push_back(std::move(list));
  }
  return make_iterator(&interpreter.budget(), std::move(batches));
}

Result<Value> filter_slice(Interpreter& interpreter, const Value& value,
                           const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("slice", arguments, {"slices", "fill_with"}, 1));
  HADAL_TRY(const int64_t count, bound.integer_or(0, 0));
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), value));
  if (count < 1) return fail("slice() into {} parts", count);
  HADAL_TRY_VOID(interpreter.budget().step_for_items(static_cast<size_t>(count)));
  const auto slices = static_cast<size_t>(count);
  std::vector<Value> parts;
  size_t begin = 0;
  for (size_t i = 0; i < slices; i++) {
    const bool longer = i < items.size() % slices;
    const size_t end = begin + items.size() / slices + (longer ? 1 : 0);
    std::vector<Value> part(items.begin() + static_cast<ptrdiff_t>(begin),
                            items.begin() + static_cast<ptrdiff_t>(end));
    if (!bound.is_none(1) && !longer) part.push_back(bound[1]);
    HADAL_TRY(Value list, make_list(&interpreter.budget(), std::move(part)));
    parts.push_back(std::move(list));
    begin = end;
  }
  return make_iterator(&interpreter.budget(), std::move(parts));
}

constexpr FilterEntry kSequenceFilters[] = {
    // sorted by name
    {"batch", filter_batch},
    {"count", filter_length},
    {"dictsort", filter_dictsort},
    {"first", filter_first},
    {"groupby", filter_groupby},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"map", filter_map},
    {"max", filter_extreme<Operator::greater>},
    {"min", filter_extreme<Operator::less>},
    {"reject", filter_select<Keep::failing, LookAt::item>},
    {"rejectattr", filter_select<Keep::failing, LookAt::attribute>},
    {"reverse", filter_reverse},
    {"select", filter_select<Keep::passing, LookAt::item>},
    {"selectattr", filter_select<Keep::passing, LookAt::attribute>},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"sum", filter_sum},
    {"unique", filter_unique},
};

}  // namespace

std::span<const FilterEntry> sequence_filters() {
  return kSequenceFilters;
}

}  // namespace hadal::jinja
