// The methods of lists, tuples, dicts, ranges and of `loop`.
#include <algorithm>
#include <array>

#include "text/template/jinja_interpreter.h"
#include "text/template/jinja_operators.h"

namespace hadal::jinja {
namespace {

Result<Value> sequence_count(Interpreter& interpreter, const Value& self,
                             const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("count", arguments, {"value"}, 1));
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), self));
  int64_t count = 0;
  for (const Value& item : items) {
    HADAL_TRY(const bool same, equals(interpreter.budget(), item, bound[0]));
    if (same) count++;
  }
  return Value::integer(count);
}

Result<Value> sequence_index(Interpreter& interpreter, const Value& self,
                             const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("index", arguments, {"value", "start", "stop"}, 1));
  HADAL_TRY(const std::vector<Value> items, iterate(interpreter.budget(), self));
  HADAL_TRY(const int64_t start, bound.integer_or(1, 0));
  HADAL_TRY(const int64_t stop, bound.integer_or(2, INT64_MAX));
  const SlicePlan plan = plan_slice({.start = start, .stop = stop}, items.size());
  for (size_t i = 0; i < plan.count; i++) {
    const auto at = static_cast<size_t>(plan.start) + i;
    HADAL_TRY(const bool same, equals(interpreter.budget(), items[at], bound[0]));
    if (same) return Value::integer(static_cast<int64_t>(at));
  }
  return fail("the value is not in the {}", type_name(self));
}

Result<Value> copy(Interpreter&, const Value& self, const Arguments& arguments) {
  HADAL_TRY_VOID(Bound::bind("copy", arguments, {}));
  return self;  // nothing can change either of the two
}

template <ViewKind kKind>
Result<Value> dict_view(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  HADAL_TRY_VOID(Bound::bind("items", arguments, {}));
  return make_view(&interpreter.budget(), self, kKind);
}

Result<Value> dict_get(Interpreter&, const Value& self, const Arguments& arguments) {
  HADAL_TRY(const Bound bound, Bound::bind("get", arguments, {"key", "default"}, 1));
  if (bound[0].is_sequence() || bound[0].is(Kind::dict)) {
    return fail("a {} cannot be a key of a dict", type_name(bound[0]));
  }
  if (const Value* found = self.dict().find(bound[0])) return *found;
  return bound.has(1) ? bound[1] : Value::none();
}

Result<Value> loop_cycle(Interpreter&, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return fail("loop.cycle() has nothing to cycle through");
  const auto index = static_cast<size_t>(self.loop().index0);
  return arguments.positional[index % arguments.positional.size()];
}

Result<Value> loop_changed(Interpreter& interpreter, const Value& self,
                           const Arguments& arguments) {
  LoopObject& loop = self.loop();
  bool same = loop.changed && loop.changed->size() == arguments.positional.size();
  for (size_t i = 0; same && i < arguments.positional.size(); i++) {
    HADAL_TRY(same, equals(interpreter.budget(), (*loop.changed)[i], arguments.positional[i]));
  }
  if (!same) loop.changed = arguments.positional;
  return Value::boolean(!same);
}

constexpr MethodEntry kListMethods[] = {
    {"copy", copy}, {"count", sequence_count}, {"index", sequence_index}};
constexpr MethodEntry kTupleMethods[] = {{"count", sequence_count}, {"index", sequence_index}};
constexpr MethodEntry kDictMethods[] = {
    {"copy", copy},
    {"get", dict_get},
    {"items", dict_view<ViewKind::items>},
    {"keys", dict_view<ViewKind::keys>},
    {"values", dict_view<ViewKind::values>},
};
constexpr MethodEntry kLoopMethods[] = {{"changed", loop_changed}, {"cycle", loop_cycle}};

}  // namespace

std::span<const MethodEntry> container_methods(Kind kind) {
  switch (kind) {
    case Kind::list:
      return kListMethods;
    case Kind::tuple:
    case Kind::range:
      return kTupleMethods;
    case Kind::dict:
      return kDictMethods;
    default:
      return kLoopMethods;
  }
}

bool is_mutating_method(Kind kind, std::string_view name) {
  constexpr std::array<std::string_view, 8> list = {"append", "clear",  "extend",  "insert",
                                                    "pop",    "remove", "reverse", "sort"};
  constexpr std::array<std::string_view, 5> dict = {"clear", "pop", "popitem", "setdefault",
                                                    "update"};
  if (kind == Kind::list) return std::find(list.begin(), list.end(), name) != list.end();
  if (kind == Kind::dict) return std::find(dict.begin(), dict.end(), name) != dict.end();
  return false;
}

}  // namespace hadal::jinja
