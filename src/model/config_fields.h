// Reads the fields of a model's configuration, in either dialect, and keeps account of them: a
// field that is there but was neither read nor declared harmless ends up in a warning, because it
// may change the mathematics.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "file/metadata.h"

namespace hadal {

// A field that may be absent or hold this one value; any other is refused by name.
struct OnlyField {
  std::string_view key;
  std::variant<bool, double, std::string_view> value;
};

class ConfigFields {
 public:
  // Keys are given without the architecture that a GGUF puts before them ("llama."). `metadata`
  // must outlive the reader.
  ConfigFields(const Metadata& metadata, std::string_view architecture);

  Dialect dialect() const { return metadata_.dialect(); }
  const std::string& file() const { return metadata_.file(); }
  std::string_view architecture() const { return architecture_; }
  std::string full_key(std::string_view key) const;  // as the file spells it
  bool has(std::string_view key) const { return metadata_.has(full_key(key)); }
  // The keys that begin with `section` and a dot, without both.
  std::vector<std::string> keys_of(std::string_view section) const;

  // From 1 to maximum; a list of one value a layer is taken where they are all the same. Errors of
  // all of these name the file, the field, the value and the bound.
  Result<uint32_t> count(std::string_view key, uint32_t maximum);
  Result<uint32_t> count_or(std::string_view key, uint32_t maximum, uint32_t otherwise);
  // As count_or, but 0 is a number, too.
  Result<uint32_t> count_or_none(std::string_view key, uint32_t maximum, uint32_t otherwise);
  // Finite, minimum <= value.
  Result<double> number(std::string_view key, double minimum);
  Result<double> number_or(std::string_view key, double minimum, double otherwise);
  Result<bool> flag_or(std::string_view key, bool otherwise);
  Result<std::string_view> string_or(std::string_view key, std::string_view otherwise);

  // Each absent, or exactly this value (an array: each of its elements).
  Status only(std::initializer_list<OnlyField> fields);
  // Nothing may stand below a section ("quantization"); `what` says what it would be.
  Status refuse_section(std::string_view section, std::string_view what) const;
  // Read by nobody, and rightly: they do not change what a forward computes.
  void harmless(std::initializer_list<std::string_view> keys);
  // As `harmless`, for everything below a section ("generation").
  void harmless_section(std::string_view section);

  // One sentence that names the fields nobody accounted for, or nothing.
  std::vector<std::string> warnings() const;

 private:
  Result<uint32_t> whole(std::string_view key, uint32_t minimum, uint32_t maximum);

  const Metadata& metadata_;
  std::string architecture_, prefix_;
  std::set<std::string, std::less<>> known_;  // full keys
};

}  // namespace hadal
