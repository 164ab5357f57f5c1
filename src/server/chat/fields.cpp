#include "server/chat/fields.h"

#include <cmath>

namespace hadal {
namespace {

constexpr size_t kShownNameBytes = 64;

bool is_of_type(FieldType type, const Json& value) {
  switch (type) {
    case FieldType::kNumber:
      return value.is_number();
    case FieldType::kWhole:
      return value.is_number() && std::trunc(value.get<double>()) == value.get<double>();
    case FieldType::kBoolean:
      return value.is_boolean();
    case FieldType::kText:
      return value.is_string();
    case FieldType::kList:
      return value.is_array();
    case FieldType::kObject:
      return value.is_object();
    case FieldType::kAny:
      return true;
  }
  return false;
}

std::string_view type_name(FieldType type) {
  switch (type) {
    case FieldType::kNumber:
      return "a number";
    case FieldType::kWhole:
      return "a whole number";
    case FieldType::kBoolean:
      return "true or false";
    case FieldType::kText:
      return "a string";
    case FieldType::kList:
      return "a list";
    case FieldType::kObject:
      return "an object";
    case FieldType::kAny:
      return "a value";
  }
  return "";
}

}  // namespace

std::string shown_name(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, kShownNameBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte >= 0x20 && byte < 0x7f ? c : '?';
  }
  return text;
}

std::string field_path(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

tl::unexpected<RequestError> refuse_field(ErrorKind kind, std::string field, std::string message) {
  return tl::unexpected(
      RequestError{.kind = kind, .message = std::move(message), .field = std::move(field)});
}

RequestResult<void> check_field(const FieldShape& shape, const Json& value, std::string_view path) {
  const std::string name = field_path(path, shape.name);
  if (!is_of_type(shape.type, value)) {
    return refuse_field(ErrorKind::kInvalid, name,
                        fmt::format("{} must be {}", name, type_name(shape.type)));
  }
  const auto refuse_range = [&](std::string_view what, double is) -> RequestResult<void> {
    if (shape.most == 0) {
      return refuse_field(ErrorKind::kUnsupported, name,
                          fmt::format("{} cannot be honoured here, but where it is empty", name));
    }
    return refuse_field(ErrorKind::kInvalid, name,
                        fmt::format("{} must have from {} to {} {}, not {}", name, shape.least,
                                    shape.most, what, is));
  };
  switch (shape.type) {
    case FieldType::kNumber:
    case FieldType::kWhole: {
      const double number = value.get<double>();
      if (number >= shape.least && number <= shape.most) return {};
      return refuse_field(ErrorKind::kInvalid, name,
                          fmt::format("{} must lie from {} to {}, not be {}", name, shape.least,
                                      shape.most, number));
    }
    case FieldType::kText: {
      const auto bytes = static_cast<double>(value.get_ref<const std::string&>().size());
      if (bytes >= shape.least && bytes <= shape.most) return {};
      return refuse_range("bytes", bytes);
    }
    case FieldType::kList: {
      const auto entries = static_cast<double>(value.size());
      if (entries >= shape.least && entries <= shape.most) return {};
      return refuse_range("entries", entries);
    }
    default:
      return {};
  }
}

tl::unexpected<RequestError> unknown_field(std::string_view name, std::string_view path,
                                           std::string_view known) {
  const std::string full = field_path(path, shown_name(name));
  return refuse_field(
      ErrorKind::kUnsupported, full,
      fmt::format("the field '{}' is not one that this server honours; it knows {}", full, known));
}

}  // namespace hadal
