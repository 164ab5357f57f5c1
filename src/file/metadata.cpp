#include "file/metadata.h"

#include <type_traits>

#include "base/utf8.h"

namespace hadal {
namespace {

std::string array_kind(const MetadataArray& array) {
  return std::visit(
      [](const auto& values) -> std::string {
        using Element = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_same_v<Element, std::string_view>) {
          return fmt::format("a list of {} strings", values.size());
        } else if constexpr (std::is_same_v<Element, bool>) {
          return fmt::format("a list of {} booleans", values.size());
        } else {
          return fmt::format("a list of {} numbers", values.size());
        }
      },
      array);
}

std::string found_value(const MetadataValue& value) {
  return std::visit(
      [](const auto& found) -> std::string {
        using Found = std::decay_t<decltype(found)>;
        if constexpr (std::is_same_v<Found, MetadataArray>) {
          return array_kind(found);
        } else if constexpr (std::is_same_v<Found, std::string_view>) {
          return fmt::format("the string {}", quote(found, 40));
        } else {
          return fmt::format("{}", found);
        }
      },
      value);
}

tl::unexpected<Error> absent(const Metadata& metadata, std::string_view key) {
  return fail("{}: the key {} is missing", metadata.file(), quote(key));
}

tl::unexpected<Error> wrong_kind(const Metadata& metadata, std::string_view key,
                                 const MetadataValue& value, std::string_view expected) {
  return fail("{}: the key {} is {}; expected {}", metadata.file(), quote(key), found_value(value),
              expected);
}

// The array under a key, or a scalar taken as a list of one: files write "one value for all layers"
// and "one value a layer", or one end token and several, under the same key.
template <typename Element, typename Convert>
Result<std::vector<Element>> list_of(const Metadata& metadata, std::string_view key,
                                     std::string_view expected, Convert convert) {
  const MetadataValue* value = metadata.find(key);
  if (value == nullptr) return absent(metadata, key);
  std::vector<Element> list;
  bool all_fit = true;
  const auto take = [&](auto element) {
    Element converted{};
    all_fit = all_fit && convert(element, converted);
    list.push_back(converted);
  };
  if (const auto* array = std::get_if<MetadataArray>(value)) {
    std::visit(
        [&](const auto& elements) {
          list.reserve(elements.size());
          for (const auto& element : elements) {
            take(static_cast<typename std::decay_t<decltype(elements)>::value_type>(element));
            if (!all_fit) return;
          }
        },
        *array);
  } else if (const auto* integer = std::get_if<int64_t>(value)) {
    take(*integer);
  } else if (const auto* natural = std::get_if<uint64_t>(value)) {
    take(*natural);
  } else if (const auto* real = std::get_if<double>(value)) {
    take(*real);
  } else {
    all_fit = false;
  }
  if (!all_fit) return wrong_kind(metadata, key, *value, expected);
  return list;
}

}  // namespace

const MetadataValue* Metadata::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

bool Metadata::insert(std::string key, MetadataValue value) {
  return values_.emplace(std::move(key), std::move(value)).second;
}

Result<uint64_t> Metadata::unsigned_integer(std::string_view key, uint64_t maximum) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return absent(*this, key);
  uint64_t number = 0;
  if (const auto* natural = std::get_if<uint64_t>(value)) {
    number = *natural;
  } else if (const auto* integer = std::get_if<int64_t>(value);
             integer != nullptr && *integer >= 0) {
    number = static_cast<uint64_t>(*integer);
  } else {
    return wrong_kind(*this, key, *value, "a whole number that is not negative");
  }
  if (number > maximum) {
    return fail("{}: the key {} is {}; at most {} is possible", file_, quote(key), number, maximum);
  }
  return number;
}

Result<double> Metadata::number(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return absent(*this, key);
  if (const auto* real = std::get_if<double>(value)) return *real;
  if (const auto* natural = std::get_if<uint64_t>(value)) return static_cast<double>(*natural);
  if (const auto* integer = std::get_if<int64_t>(value)) return static_cast<double>(*integer);
  return wrong_kind(*this, key, *value, "a number");
}

Result<bool> Metadata::boolean(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return absent(*this, key);
  if (const auto* truth = std::get_if<bool>(value)) return *truth;
  return wrong_kind(*this, key, *value, "true or false");
}

Result<std::string_view> Metadata::string(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return absent(*this, key);
  if (const auto* text = std::get_if<std::string_view>(value)) return *text;
  return wrong_kind(*this, key, *value, "a string");
}

Result<std::span<const std::string_view>> Metadata::strings(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return absent(*this, key);
  if (const auto* array = std::get_if<MetadataArray>(value)) {
    using Strings = std::vector<std::string_view>;
    if (const auto* list = std::get_if<Strings>(array))
      return std::span<const std::string_view>(*list);
    const bool empty = std::visit([](const auto& list) { return list.empty(); }, *array);
    if (empty) return std::span<const std::string_view>();  // an empty list is a list of anything
  }
  return wrong_kind(*this, key, *value, "a list of strings");
}

Result<std::vector<float>> Metadata::floats(std::string_view key) const {
  return list_of<float>(*this, key, "a list of numbers", [](auto element, float& converted) {
    using Found = decltype(element);
    if constexpr (std::is_same_v<Found, std::string_view> || std::is_same_v<Found, bool>) {
      return false;
    } else {
      converted = static_cast<float>(element);
      return true;
    }
  });
}

Result<std::vector<int64_t>> Metadata::integers(std::string_view key) const {
  return list_of<int64_t>(*this, key, "a list of whole numbers",
                          [](auto element, int64_t& converted) {
                            if constexpr (std::is_same_v<decltype(element), int64_t>) {
                              converted = element;
                              return true;
                            } else if constexpr (std::is_same_v<decltype(element), uint64_t>) {
                              converted = static_cast<int64_t>(element);
                              return element <= static_cast<uint64_t>(INT64_MAX);
                            } else {
                              return false;
                            }
                          });
}

}  // namespace hadal
