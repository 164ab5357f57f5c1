// A JSON Schema as it was sent: parsed within limits, each value with a number and a place.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/grammar/grammar.h"

namespace hadal {

using SchemaJson = nlohmann::ordered_json;

class SchemaDocument {
 public:
  // Errors: not JSON, or past a limit.
  static Result<SchemaDocument> parse(std::string_view text, const GrammarLimits& limits);

  SchemaDocument(SchemaDocument&&) noexcept;
  ~SchemaDocument();

  // Values are numbered in the order of the text; the schema itself is 0.
  const SchemaJson& value(uint32_t number) const { return *values_[number].json; }
  uint32_t number(const SchemaJson& value) const { return numbers_.at(&value); }

  // "#/properties/name", fit for a message.
  std::string place(uint32_t number) const;

  // What a reference ("#", "#/$defs/name") points to. Errors: elsewhere, or at nothing.
  Result<uint32_t> resolve(std::string_view reference) const;

 private:
  struct Value {
    const SchemaJson* json;
    uint32_t parent;
    std::string step;  // from the parent: a key or an index
  };

  SchemaDocument();
  void number_values();

  std::unique_ptr<SchemaJson> root_;
  std::vector<Value> values_;
  std::unordered_map<const SchemaJson*, uint32_t> numbers_;
};

// As JSON Schema compares: 1 and 1.0 are equal, the order of properties does not matter.
bool equal_values(const SchemaJson& a, const SchemaJson& b);

// As JSON text, without space.
std::string json_text(const SchemaJson& value);
std::string json_string(const std::string& text);  // in its quotes

}  // namespace hadal
