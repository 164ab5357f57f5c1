#include "text/template/jinja_value.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/json.h"
#include "text/template/jinja_interpreter.h"

namespace hadal::jinja {
namespace {

constexpr size_t kControlBlockBytes = 32;  // what a shared_ptr adds to its object
const std::string kNoStory = "the value is undefined";

struct UndefinedObject : Object {
  std::string story;
};

size_t deepest(const std::vector<Value>& items) {
  size_t depth = 0;
  for (const Value& item : items) depth = std::max<size_t>(depth, item.depth());
  return depth;
}

}  // namespace

Value Value::boolean(bool value) {
  Value result(Kind::boolean);
  result.integer_ = value ? 1 : 0;
  return result;
}

Value Value::integer(int64_t value) {
  Value result(Kind::integer);
  result.integer_ = value;
  return result;
}

Value Value::floating(double value) {
  Value result(Kind::floating);
  result.floating_ = value;
  return result;
}

Value Value::function(size_t index) {
  Value result(Kind::function);
  result.integer_ = static_cast<int64_t>(index);
  return result;
}

double Value::as_double() const {
  return kind_ == Kind::floating ? floating_ : static_cast<double>(integer_);
}

const Text& Value::text() const {
  return static_cast<const StringObject&>(*object_).text;
}
bool Value::is_markup() const {
  return is_string() && static_cast<const StringObject&>(*object_).markup;
}
const std::vector<Value>& Value::items() const {
  return static_cast<const ListObject&>(*object_).items;
}
const DictObject& Value::dict() const {
  return static_cast<const DictObject&>(*object_);
}
const RangeObject& Value::range() const {
  return static_cast<const RangeObject&>(*object_);
}
const ViewObject& Value::view() const {
  return static_cast<const ViewObject&>(*object_);
}
IteratorObject& Value::iterator() const {
  return static_cast<IteratorObject&>(*object_);
}
NamespaceObject& Value::name_space() const {
  return static_cast<NamespaceObject&>(*object_);
}
LoopObject& Value::loop() const {
  return static_cast<LoopObject&>(*object_);
}
const MacroObject& Value::macro() const {
  return static_cast<const MacroObject&>(*object_);
}
const MethodObject& Value::method() const {
  return static_cast<const MethodObject&>(*object_);
}

const std::string& Value::undefined_story() const {
  if (!object_) return kNoStory;
  return static_cast<const UndefinedObject&>(*object_).story;
}

// --- dict ---

namespace {

int key_rank(const Value& key) {
  return key.is_none() ? 0 : key.is_number() ? 1 : 2;
}

bool numeric_less(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.as_integer() < b.as_integer();
  // x86's long double holds every 64-bit integer exactly.
  const auto exact = [](const Value& v) {
    return v.is_integral() ? static_cast<long double>(v.as_integer()) : v.as_double();
  };
  return exact(a) < exact(b);
}

}  // namespace

bool DictObject::KeyOrder::operator()(const Value& a, const Value& b) const {
  const int rank_a = key_rank(a);
  const int rank_b = key_rank(b);
  if (rank_a != rank_b) return rank_a < rank_b;
  if (rank_a == 0) return false;
  return rank_a == 1 ? numeric_less(a, b) : a.text().bytes() < b.text().bytes();
}

bool DictObject::can_be_key(const Value& key) {
  if (key.is(Kind::floating)) return !std::isnan(key.as_double());
  return key.is_none() || key.is_number() || key.is_string();
}

size_t DictObject::position(const Value& key) const {
  if (!index.empty()) {
    const auto found = index.find(key);
    return found == index.end() ? entries.size() : found->second;
  }
  const KeyOrder before;
  for (size_t i = 0; i < entries.size(); i++) {
    const Value& other = entries[i].first;
    if (!before(key, other) && !before(other, key)) return i;
  }
  return entries.size();
}

const Value* DictObject::find(const Value& key) const {
  if (!can_be_key(key)) return nullptr;
  const size_t at = position(key);
  return at < entries.size() ? &entries[at].second : nullptr;
}

const Value* DictObject::find(std::string_view key) const {
  if (!index.empty()) {
    const auto wanted = make_string(nullptr, Text::trusted(key));
    return wanted ? find(*wanted) : nullptr;
  }
  for (const auto& [name, value] : entries) {
    if (name.is_string() && name.text().view() == key) return &value;
  }
  return nullptr;
}

void DictObject::insert(const Value& key, const Value& value) {
  const size_t at = position(key);
  if (at < entries.size()) {
    entries[at].second = value;
    return;
  }
  entries.emplace_back(key, value);
  if (entries.size() < kIndexedFrom) return;
  for (size_t i = index.empty() ? 0 : at; i < entries.size(); i++) index[entries[i].first] = i;
}

const Value* NamespaceObject::find(std::string_view name) const {
  for (const auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

Status NamespaceObject::set(std::string_view name, const Value& value) {
  for (auto& [key, old] : attributes) {
    if (key == name) {
      old = value;
      return {};
    }
  }
  const size_t bytes = sizeof(attributes[0]) + name.size();
  HADAL_TRY_VOID(budget->charge(bytes));
  charged_bytes += bytes;
  attributes.emplace_back(std::string(name), value);
  return {};
}

// --- making values ---

Status account(Object& object, Budget* budget, size_t bytes, size_t depth_inside) {
  object.depth = static_cast<uint16_t>(std::min<size_t>(depth_inside + 1, UINT16_MAX));
  if (budget == nullptr) return {};
  if (object.depth > budget->limits().value_depth_max) {
    return fail("the template puts values inside one another too deeply (limit: {})",
                budget->limits().value_depth_max);
  }
  HADAL_TRY_VOID(budget->charge(bytes + kControlBlockBytes));
  object.budget = budget;
  object.charged_bytes = bytes + kControlBlockBytes;
  return {};
}

Result<Value> make_string(Budget* budget, Text text, bool markup) {
  auto object = std::make_shared<StringObject>();
  if (budget != nullptr) {
    HADAL_TRY_VOID(budget->step_for_bytes(text.size()));
    HADAL_TRY_VOID(account(*object, budget, sizeof(StringObject) + text.memory_bytes(), 0));
  }
  object->depth = 0;
  object->text = std::move(text);
  object->markup = markup;
  return Value(Kind::string, std::move(object));
}

namespace {

Result<Value> make_sequence(Budget* budget, Kind kind, std::vector<Value> items) {
  auto object = std::make_shared<ListObject>();
  if (budget != nullptr) HADAL_TRY_VOID(budget->step_for_items(items.size()));
  const size_t bytes = sizeof(ListObject) + items.size() * sizeof(Value);
  HADAL_TRY_VOID(account(*object, budget, bytes, deepest(items)));
  object->items = std::move(items);
  return Value(kind, std::move(object));
}

}  // namespace

Result<Value> make_list(Budget* budget, std::vector<Value> items) {
  return make_sequence(budget, Kind::list, std::move(items));
}

Result<Value> make_tuple(Budget* budget, std::vector<Value> items) {
  return make_sequence(budget, Kind::tuple, std::move(items));
}

Result<Value> make_dict(Budget* budget, std::vector<std::pair<Value, Value>> entries) {
  auto object = std::make_shared<DictObject>();
  if (budget != nullptr) HADAL_TRY_VOID(budget->step_for_items(entries.size()));
  constexpr size_t kEntryBytes = 2 * sizeof(Value) + 96;  // with its node in the index
  size_t depth = 0;
  for (const auto& [key, value] : entries) {
    if (!DictObject::can_be_key(key)) {
      return fail("a {} cannot be a key of a dict here, only strings and numbers", type_name(key));
    }
    depth = std::max<size_t>(depth, value.depth());
  }
  HADAL_TRY_VOID(
      account(*object, budget, sizeof(DictObject) + entries.size() * kEntryBytes, depth));
  for (const auto& [key, value] : entries) object->insert(key, value);
  return Value(Kind::dict, std::move(object));
}

Result<Value> make_iterator(Budget* budget, std::vector<Value> items) {
  auto object = std::make_shared<IteratorObject>();
  const size_t bytes = sizeof(IteratorObject) + items.size() * sizeof(Value);
  HADAL_TRY_VOID(account(*object, budget, bytes, deepest(items)));
  object->items = std::move(items);
  return Value(Kind::iterator, std::move(object));
}

Result<Value> make_view(Budget* budget, const Value& dict, ViewKind kind) {
  auto object = std::make_shared<ViewObject>();
  HADAL_TRY_VOID(account(*object, budget, sizeof(ViewObject), dict.depth()));
  object->dict = dict;
  object->kind = kind;
  return Value(Kind::view, std::move(object));
}

Result<Value> make_method(Budget* budget, const Value& self, const MethodEntry* entry) {
  auto object = std::make_shared<MethodObject>();
  HADAL_TRY_VOID(account(*object, budget, sizeof(MethodObject), self.depth()));
  object->self = self;
  object->entry = entry;
  return Value(Kind::method, std::move(object));
}

Value make_undefined(std::string_view story) {
  auto object = std::make_shared<UndefinedObject>();
  object->story = valid_utf8(story.substr(0, kStoryBytesMax));
  return Value(Kind::undefined, std::move(object));
}

// --- JSON ---

namespace {

bool is_usual_role(std::string_view role) {
  constexpr std::array<std::string_view, 10> usual = {
      "system",   "user",    "assistant",   "tool",  "developer",
      "function", "ipython", "environment", "model", "latest_reminder"};
  return std::find(usual.begin(), usual.end(), role) != usual.end();
}

struct JsonReader {
  Budget* budget;
  size_t depth_max;
  Roles roles;

  // level: how many arrays and objects lie around the value.
  Result<Value> read(const nlohmann::ordered_json& json, size_t level) const {
    if (level > depth_max) return fail("the input is nested too deeply (limit: {})", depth_max);
    using Type = nlohmann::ordered_json::value_t;
    switch (json.type()) {
      case Type::boolean:
        return Value::boolean(json.get<bool>());
      case Type::number_integer:
        return Value::integer(json.get<int64_t>());
      case Type::number_unsigned: {
        const auto number = json.get<uint64_t>();
        if (number > INT64_MAX) return Value::floating(static_cast<double>(number));
        return Value::integer(static_cast<int64_t>(number));
      }
      case Type::number_float:
        return Value::floating(json.get<double>());
      case Type::string:
        return string(json.get_ref<const std::string&>(), Trust::untrusted);
      case Type::array: {
        std::vector<Value> items;
        items.reserve(json.size());
        for (const auto& element : json) {
          HADAL_TRY(Value item, read(element, level + 1));
          items.push_back(std::move(item));
        }
        return make_list(budget, std::move(items));
      }
      case Type::object:
        return read_object(json, level);
      default:
        return Value::none();
    }
  }

  Result<Value> read_object(const nlohmann::ordered_json& json, size_t level) const {
    std::vector<std::pair<Value, Value>> entries;
    entries.reserve(json.size());
    for (const auto& [name, element] : json.items()) {
      HADAL_TRY(Value key, string(name, Trust::untrusted));
      const bool role = roles == Roles::usual_are_trusted && level == 1 && name == "role" &&
                        element.is_string() && is_usual_role(element.get_ref<const std::string&>());
      HADAL_TRY(Value value, role ? string(element.get_ref<const std::string&>(), Trust::trusted)
                                  : read(element, level + 1));
      entries.emplace_back(std::move(key), std::move(value));
    }
    return make_dict(budget, std::move(entries));
  }

  Result<Value> string(std::string_view text, Trust trust) const {
    return make_string(budget, Text(valid_utf8(text), trust));
  }
};

}  // namespace

Result<Value> value_from_json(Budget* budget, const nlohmann::ordered_json& json, Roles roles,
                              size_t depth_max) {
  return JsonReader{.budget = budget, .depth_max = depth_max, .roles = roles}.read(json, 0);
}

// --- looking at values ---

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return "undefined value";
    case Kind::none:
      return "None";
    case Kind::boolean:
      return "bool object";
    case Kind::integer:
      return "int object";
    case Kind::floating:
      return "float object";
    case Kind::string:
      return "str object";
    case Kind::list:
      return "list object";
    case Kind::tuple:
      return "tuple object";
    case Kind::dict:
      return "dict object";
    case Kind::range:
      return "range object";
    case Kind::view:
      return "dict view object";
    case Kind::iterator:
      return "generator object";
    case Kind::name_space:
      return "namespace object";
    case Kind::loop:
      return "loop object";
    case Kind::macro:
      return "macro object";
    case Kind::function:
    case Kind::method:
      return "function object";
  }
  return "object";
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.as_integer() != 0;
    case Kind::floating:
      return value.as_double() != 0;
    case Kind::string:
      return !value.text().empty();
    case Kind::list:
    case Kind::tuple:
      return !value.items().empty();
    case Kind::dict:
      return !value.dict().entries.empty();
    case Kind::range:
      return value.range().count > 0;
    case Kind::view:
      return !value.view().dict.dict().entries.empty();
    default:
      return true;
  }
}

Result<size_t> length(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::string:
      return count_code_points(value.text().view());
    case Kind::list:
    case Kind::tuple:
      return value.items().size();
    case Kind::dict:
      return value.dict().entries.size();
    case Kind::range:
      return value.range().count;
    case Kind::view:
      return value.view().dict.dict().entries.size();
    default:
      return fail("a {} has no length", type_name(value));
  }
}

bool is_iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
    case Kind::view:
    case Kind::iterator:
    case Kind::loop:
      return true;
    default:
      return false;
  }
}

namespace {

Result<std::vector<Value>> view_items(Budget& budget, const ViewObject& view) {
  std::vector<Value> items;
  for (const auto& [key, value] : view.dict.dict().entries) {
    if (view.kind == ViewKind::items) {
      HADAL_TRY(Value pair, make_tuple(&budget, {key, value}));
      items.push_back(std::move(pair));
    } else {
      items.push_back(view.kind == ViewKind::keys ? key : value);
    }
  }
  return items;
}

Result<std::vector<Value>> characters(Budget& budget, const Text& text) {
  std::vector<Value> items;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at + code_point_at(text.view(), at).bytes;
    HADAL_TRY(Value character, make_string(&budget, text.slice(at, end)));
    items.push_back(std::move(character));
    at = end;
  }
  return items;
}

}  // namespace

Result<std::vector<Value>> iterate(Budget& budget, const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::undefined:
      return items;
    case Kind::string:
      return characters(budget, value.text());
    case Kind::list:
    case Kind::tuple:
      HADAL_TRY_VOID(budget.step_for_items(value.items().size()));
      return value.items();
    case Kind::dict:
      for (const auto& entry : value.dict().entries) items.push_back(entry.first);
      break;
    case Kind::range:
      for (size_t i = 0; i < value.range().count; i++) items.push_back(value.range().at(i));
      break;
    case Kind::view: {
      HADAL_TRY_VOID(budget.step_for_items(value.view().dict.dict().entries.size()));
      return view_items(budget, value.view());
    }
    case Kind::iterator: {
      IteratorObject& iterator = value.iterator();
      const auto first = iterator.items.begin() + static_cast<ptrdiff_t>(iterator.next);
      items.assign(first, iterator.items.end());
      iterator.next = iterator.items.size();
      break;
    }
    default:
      return fail("a {} cannot be iterated over", type_name(value));
  }
  HADAL_TRY_VOID(budget.step_for_items(items.size()));
  return items;
}

}  // namespace hadal::jinja
