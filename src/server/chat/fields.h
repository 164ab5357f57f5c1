// The table form of a request's fields: name, type, least and most, where the value goes. What is
// not in the table is refused by its name. null is as good as absent, whatever the name: clients'
// objects, sent back as they print themselves, are full of fields that are not set. Each dialect
// has its tables.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "server/request_error.h"

namespace hadal {

using Json = nlohmann::ordered_json;

enum class FieldType : uint8_t {
  kNumber,   // least..most
  kWhole,    // least..most
  kBoolean,  //
  kText,     // least..most bytes
  kList,     // least..most entries
  kObject,
  kAny,  // its setter judges
};

struct FieldShape {
  const char* name;
  FieldType type;
  double least = 0, most = 0;
  // In /openapi.json the name of what the value is or, of a list, its entries are; null: anything
  // of the type.
  const char* form = nullptr;
};

// path: of the object that holds the field ("" or "messages[3]").
RequestResult<void> check_field(const FieldShape& shape, const Json& value, std::string_view path);
tl::unexpected<RequestError> unknown_field(std::string_view name, std::string_view path,
                                           std::string_view known);
// A client's own words in a message: short, on one line.
std::string shown_name(std::string_view name);
// "messages[3]" and "content" -> "messages[3].content".
std::string field_path(std::string_view path, std::string_view name);
tl::unexpected<RequestError> refuse_field(ErrorKind kind, std::string field, std::string message);

template <typename Job>
struct Field {
  FieldShape shape;
  // null: the field asks nothing of the answer and is taken as it is.
  RequestResult<void> (*set)(Job&, const Json& value) = nullptr;
};

// A table as others see it: openapi/ describes requests by it.
struct FieldForm {
  std::string name;  // "ChatRequest"
  std::vector<FieldShape> fields;
  std::vector<std::string> required;  // without which a request is refused
};

// fields: a range of Field<Job>.
template <typename Fields>
FieldForm field_form(std::string name, const Fields& fields,
                     std::vector<std::string> required = {}) {
  FieldForm form{.name = std::move(name), .fields = {}, .required = std::move(required)};
  for (const auto& field : fields) form.fields.push_back(field.shape);
  return form;
}

// object: a JSON object. Errors name the field.
template <typename Job>
RequestResult<void> read_fields(const Json& object, std::span<const Field<Job>> fields, Job& job,
                                std::string_view path = {}) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_null()) continue;
    const Field<Job>* field = nullptr;
    for (const Field<Job>& known : fields) {
      if (name == known.shape.name) field = &known;
    }
    if (field == nullptr) {
      std::string known;
      for (const Field<Job>& other : fields) {
        known += known.empty() ? "" : ", ";
        known += other.shape.name;
      }
      return unknown_field(name, path, known);
    }
    if (auto checked = check_field(field->shape, value, path); !checked) return checked;
    if (field->set == nullptr) continue;
    if (auto set = field->set(job, value); !set) return set;
  }
  return {};
}

}  // namespace hadal
