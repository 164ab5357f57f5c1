#include "model/config_fields.h"

#include <fmt/ranges.h>

#include <cmath>
#include <optional>
#include <type_traits>

#include "base/utf8.h"

namespace hadal {
namespace {

// A warning names this many unknown fields, and says how many more there are.
constexpr size_t kNamedFieldsMax = 8;

// One scalar of a metadata value in the three kinds an OnlyField knows.
template <typename Scalar>
std::variant<bool, double, std::string_view> plain(const Scalar& scalar) {
  if constexpr (std::is_same_v<Scalar, bool> || std::is_same_v<Scalar, std::string_view>) {
    return scalar;
  } else {
    return static_cast<double>(scalar);
  }
}

std::string in_words(const std::variant<bool, double, std::string_view>& value) {
  const auto* text = std::get_if<std::string_view>(&value);
  if (text != nullptr) return quote(*text);
  return std::visit([](const auto& scalar) { return fmt::format("{}", scalar); }, value);
}

// The first scalar of a value (or of the elements of an array) that differs from `wanted`.
std::optional<std::string> first_other(const MetadataValue& value,
                                       const std::variant<bool, double, std::string_view>& wanted) {
  return std::visit(
      [&](const auto& held) -> std::optional<std::string> {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, MetadataArray>) {
          return std::visit(
              [&](const auto& elements) -> std::optional<std::string> {
                using Element = typename std::decay_t<decltype(elements)>::value_type;
                for (const Element element : elements) {
                  const auto scalar = plain<Element>(element);
                  if (scalar != wanted) return in_words(scalar);
                }
                return std::nullopt;
              },
              held);
        } else {
          const auto scalar = plain(held);
          if (scalar != wanted) return in_words(scalar);
          return std::nullopt;
        }
      },
      value);
}

}  // namespace

ConfigFields::ConfigFields(const Metadata& metadata, std::string_view architecture)
    : metadata_(metadata), architecture_(architecture) {
  if (metadata.dialect() == Dialect::kGguf) prefix_ = architecture_ + ".";
}

std::string ConfigFields::full_key(std::string_view key) const {
  return prefix_ + std::string(key);
}

std::vector<std::string> ConfigFields::keys_of(std::string_view section) const {
  const std::string start = full_key(section) + ".";
  std::vector<std::string> keys;
  const auto& values = metadata_.values();
  for (auto at = values.lower_bound(start); at != values.end() && at->first.starts_with(start);
       ++at) {
    keys.push_back(at->first.substr(start.size()));
  }
  return keys;
}

Result<uint32_t> ConfigFields::whole(std::string_view key, uint32_t minimum, uint32_t maximum) {
  const std::string full = full_key(key);
  known_.insert(full);
  HADAL_TRY(const std::vector<int64_t> values, metadata_.integers(full));
  if (values.empty()) return fail("{}: {} is an empty list", file(), full);
  for (const int64_t value : values) {
    if (value < minimum || value > maximum) {
      return fail("{}: {} is {}; it must be between {} and {}", file(), full, value, minimum,
                  maximum);
    }
    if (value != values.front()) {
      return fail("{}: {} is {} in one layer and {} in another, which hadal does not implement",
                  file(), full, values.front(), value);
    }
  }
  return static_cast<uint32_t>(values.front());
}

Result<uint32_t> ConfigFields::count(std::string_view key, uint32_t maximum) {
  return whole(key, 1, maximum);
}

Result<uint32_t> ConfigFields::count_or_none(std::string_view key, uint32_t maximum,
                                             uint32_t otherwise) {
  if (!has(key)) return otherwise;
  return whole(key, 0, maximum);
}

Result<uint32_t> ConfigFields::count_or(std::string_view key, uint32_t maximum,
                                        uint32_t otherwise) {
  if (!has(key)) return otherwise;
  return count(key, maximum);
}

Result<double> ConfigFields::number(std::string_view key, double minimum) {
  const std::string full = full_key(key);
  known_.insert(full);
  HADAL_TRY(const double value, metadata_.number(full));
  if (!std::isfinite(value) || value < minimum) {
    return fail("{}: {} is {}; it must be a finite number of at least {}", file(), full, value,
                minimum);
  }
  return value;
}

Result<double> ConfigFields::number_or(std::string_view key, double minimum, double otherwise) {
  if (!has(key)) return otherwise;
  return number(key, minimum);
}

Result<bool> ConfigFields::flag_or(std::string_view key, bool otherwise) {
  if (!has(key)) return otherwise;
  known_.insert(full_key(key));
  return metadata_.boolean(full_key(key));
}

Result<std::string_view> ConfigFields::string_or(std::string_view key, std::string_view otherwise) {
  if (!has(key)) return otherwise;
  known_.insert(full_key(key));
  return metadata_.string(full_key(key));
}

Status ConfigFields::only(std::initializer_list<OnlyField> fields) {
  for (const OnlyField& field : fields) {
    const std::string full = full_key(field.key);
    known_.insert(full);
    const MetadataValue* value = metadata_.find(full);
    if (value == nullptr) continue;
    if (const auto other = first_other(*value, field.value)) {
      return fail("{}: {} is {}; for the architecture {} hadal implements only {}", file(), full,
                  *other, architecture_, in_words(field.value));
    }
  }
  return {};
}

Status ConfigFields::refuse_section(std::string_view section, std::string_view what) const {
  const std::vector<std::string> keys = keys_of(section);
  if (keys.empty()) return {};
  return fail("{}: has {}.{}: {}, which hadal does not implement for the architecture {}", file(),
              full_key(section), keys.front(), what, architecture_);
}

void ConfigFields::harmless(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) known_.insert(full_key(key));
}

void ConfigFields::harmless_section(std::string_view section) {
  for (const std::string& key : keys_of(section)) {
    known_.insert(full_key(std::string(section) + "." + key));
  }
}

std::vector<std::string> ConfigFields::warnings() const {
  std::vector<std::string> unknown;
  size_t count = 0;
  for (const auto& [key, value] : metadata_.values()) {
    if (!key.starts_with(prefix_) || known_.contains(key)) continue;
    if (++count <= kNamedFieldsMax) unknown.push_back(quote(key));
  }
  if (count == 0) return {};
  return {fmt::format(
      "{}: not known to hadal and ignored: {}{}", file(), fmt::join(unknown, ", "),
      count > unknown.size() ? fmt::format(" and {} more fields", count - unknown.size()) : "")};
}

}  // namespace hadal
