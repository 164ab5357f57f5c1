// Values of the template interpreter: Python's, as far as a chat template can reach them. A Value
// is small and copied freely; what it points to is shared and, but for namespaces, loops and
// half-read iterators, never changes.
//
// No cycles: containers are built from finished values, namespaces are owned by the interpreter and
// only pointed to. No deep towers: every container knows its depth, which is limited, so that
// walking and destroying values never exhausts the stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/template/jinja_budget.h"
#include "text/template/jinja_text.h"

namespace hadal::jinja {

enum class Kind : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  floating,
  string,
  list,
  tuple,
  dict,
  range,
  view,        // dict.items(), .keys(), .values()
  iterator,    // what map, select, ... give: read once
  name_space,  // namespace(...)
  loop,        // the `loop` variable
  macro,
  function,  // a global function
  method,    // a method together with its object
};

struct Object {
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() {
    if (budget != nullptr) budget->release(charged_bytes);
  }

  Budget* budget = nullptr;  // null: constants of the template and inputs, which no budget pays for
  size_t charged_bytes = 0;
  uint16_t depth = 0;  // 1 + the deepest value inside; 0 holds none
};

struct StringObject;
struct ListObject;
struct DictObject;
struct RangeObject;
struct ViewObject;
struct IteratorObject;
struct NamespaceObject;
struct LoopObject;
struct MacroObject;
struct MethodObject;

class Value {
 public:
  Value() = default;  // undefined, without a story
  static Value none() { return Value(Kind::none); }
  static Value boolean(bool value);
  static Value integer(int64_t value);
  static Value floating(double value);
  static Value function(size_t index);  // into the table of jinja_functions.cpp
  Value(Kind kind, std::shared_ptr<Object> object) : kind_(kind), object_(std::move(object)) {}

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::undefined; }
  bool is_none() const { return kind_ == Kind::none; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_integral() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }
  bool is_number() const { return is_integral() || kind_ == Kind::floating; }
  bool is_sequence() const { return kind_ == Kind::list || kind_ == Kind::tuple; }

  bool as_boolean() const { return integer_ != 0; }
  int64_t as_integer() const { return integer_; }  // booleans count as 0 and 1
  double as_double() const;                        // any number
  size_t function_index() const { return static_cast<size_t>(integer_); }

  const Text& text() const;                 // string
  bool is_markup() const;                   // string that passed through `safe` or `escape`
  const std::vector<Value>& items() const;  // list, tuple
  const DictObject& dict() const;
  const RangeObject& range() const;
  const ViewObject& view() const;
  IteratorObject& iterator() const;
  NamespaceObject& name_space() const;
  LoopObject& loop() const;
  const MacroObject& macro() const;
  const MethodObject& method() const;

  uint16_t depth() const { return object_ ? object_->depth : 0; }
  bool same_object(const Value& other) const { return object_ && object_ == other.object_; }
  const std::string& undefined_story()
      const;  // "'foo' is undefined", for the error when it is used

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::undefined;
  union {
    int64_t integer_ = 0;
    double floating_;
  };
  std::shared_ptr<Object> object_;
};

struct StringObject : Object {
  Text text;
  bool markup = false;
};

struct ListObject : Object {
  std::vector<Value> items;
};

// Insertion-ordered, unique keys. Looking up in a large dict goes through an ordered index, so that
// no choice of keys is slow.
struct DictObject : Object {
  struct KeyOrder {
    bool operator()(const Value& a, const Value& b) const;
  };
  std::vector<std::pair<Value, Value>> entries;
  std::map<Value, size_t, KeyOrder> index;  // filled from kIndexedFrom entries on

  static constexpr size_t kIndexedFrom = 16;
  static bool can_be_key(const Value& key);  // strings, numbers, none
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void insert(const Value& key, const Value& value);  // replaces the value of an equal key

 private:
  size_t position(const Value& key) const;  // entries.size(): absent
};

struct RangeObject : Object {
  int64_t start = 0;
  int64_t step = 1;
  size_t count = 0;

  Value at(size_t index) const {
    return Value::integer(start + step * static_cast<int64_t>(index));
  }
};

enum class ViewKind : uint8_t { items, keys, values };
struct ViewObject : Object {
  Value dict;
  ViewKind kind = ViewKind::items;
};

struct IteratorObject : Object {
  std::vector<Value> items;
  size_t next = 0;
};

struct NamespaceObject : Object {
  std::vector<std::pair<std::string, Value>> attributes;

  const Value* find(std::string_view name) const;
  Status set(std::string_view name, const Value& value);  // pays for a new attribute
};

class Interpreter;
struct Arguments;
struct MethodEntry {
  std::string_view name;
  Result<Value> (*call)(Interpreter&, const Value& self, const Arguments&);
};
struct MethodObject : Object {
  Value self;
  const MethodEntry* entry = nullptr;
};

// --- making values; budget null: unpaid (constants, inputs) ---

Result<Value> make_string(Budget* budget, Text text, bool markup = false);
Result<Value> make_list(Budget* budget, std::vector<Value> items);
Result<Value> make_tuple(Budget* budget, std::vector<Value> items);
Result<Value> make_dict(Budget* budget, std::vector<std::pair<Value, Value>> entries);
Result<Value> make_iterator(Budget* budget, std::vector<Value> items);
Result<Value> make_view(Budget* budget, const Value& dict, ViewKind kind);
Result<Value> make_method(Budget* budget, const Value& self, const MethodEntry* entry);
constexpr size_t kStoryBytesMax =
    200;  // of the message an undefined value carries; the rest is cut off
Value make_undefined(std::string_view story);

// Fills in what every object with values inside needs, and pays for it.
Status account(Object& object, Budget* budget, size_t bytes, size_t depth_inside);

// From and to JSON. Numbers beyond 64 bits become floating. `trusted_roles`: strings under "role"
// of the top list's objects that are usual role names become trusted.
enum class Roles : uint8_t { untrusted, usual_are_trusted };
Result<Value> value_from_json(Budget* budget, const nlohmann::ordered_json& json, Roles roles,
                              size_t depth_max);

// --- looking at values ---

// "dict object", "None": how jinja names the type of a value in its messages.
std::string type_name(const Value& value);
bool truth(const Value& value);
// Length of anything that has one.
Result<size_t> length(const Value& value);
// All items in order, as a `for` would see them; an iterator is used up by it.
Result<std::vector<Value>> iterate(Budget& budget, const Value& value);
bool is_iterable(const Value& value);

}  // namespace hadal::jinja
