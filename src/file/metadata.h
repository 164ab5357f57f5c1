// What a model file says of itself: named values, from a GGUF header or from the JSON files of a
// Hugging Face folder (flattened: "rope_scaling.factor"). Strings of a GGUF are views into the
// mapped file, which the ModelFile that hands out a Metadata owns.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace hadal {

using MetadataArray = std::variant<std::vector<int64_t>, std::vector<uint64_t>, std::vector<double>,
                                   std::vector<bool>, std::vector<std::string_view>>;
using MetadataValue =
    std::variant<bool, int64_t, uint64_t, double, std::string_view, MetadataArray>;

// Where the names of keys and tensors come from: the two conventions a checkpoint can follow.
enum class Dialect : uint8_t { kGguf, kHuggingFace };

class Metadata {
 public:
  Metadata(std::string file, Dialect dialect) : file_(std::move(file)), dialect_(dialect) {}

  Dialect dialect() const { return dialect_; }
  const std::string& file() const { return file_; }  // for messages

  // Present and of the right kind, or an error that names file, key, what was found and what was
  // expected. Integers are accepted across signedness if the value fits; a float key accepts
  // integers.
  // A list key accepts one value as a list of one (files write "for all layers" and "a layer each"
  // under the same key), and an empty list is a list of anything.
  Result<uint64_t> unsigned_integer(std::string_view key, uint64_t maximum = UINT32_MAX) const;
  Result<double> number(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  Result<std::string_view> string(std::string_view key) const;
  Result<std::span<const std::string_view>> strings(std::string_view key) const;
  Result<std::vector<float>> floats(std::string_view key) const;
  Result<std::vector<int64_t>> integers(std::string_view key) const;

  bool has(std::string_view key) const { return find(key) != nullptr; }
  const MetadataValue* find(std::string_view key) const;  // null: absent
  const std::map<std::string, MetadataValue, std::less<>>& values() const { return values_; }

  // False if the key is there already (a duplicate is the reader's error to report).
  bool insert(std::string key, MetadataValue value);

 private:
  std::string file_;
  Dialect dialect_;
  std::map<std::string, MetadataValue, std::less<>> values_;
};

}  // namespace hadal
