#include "text/grammar/schema_document.h"

#include <algorithm>
#include <charconv>

#include "base/json.h"
#include "base/utf8.h"
#include "file/json_events.h"

namespace hadal {
namespace {

// Builds nothing: looks whether the text is worth building, before it is.
class Shape final : public JsonEvents {
 public:
  explicit Shape(uint32_t keys_max) : keys_max_(keys_max) {}

  Status null() override { return {}; }
  Status boolean(bool) override { return {}; }
  Status integer(int64_t) override { return {}; }
  Status unsigned_integer(uint64_t) override { return {}; }
  Status number(double) override { return {}; }
  Status string(std::string_view) override { return {}; }
  Status key(std::string_view) override {
    if (++keys_.back() > keys_max_) {
      return fail("the schema has an object of more than {} keys, which is the limit", keys_max_);
    }
    return {};
  }
  Status begin_object() override {
    keys_.push_back(0);
    return {};
  }
  Status end_object() override {
    keys_.pop_back();
    return {};
  }
  Status begin_list() override { return {}; }
  Status end_list() override { return {}; }

 private:
  const uint32_t keys_max_;
  std::vector<uint32_t> keys_;
};

// "~1" is "/", "~0" is "~" (RFC 6901).
std::string escaped(std::string_view key) {
  std::string text;
  for (const char c : key) {
    text += c == '~' ? "~0" : c == '/' ? "~1" : std::string_view(&c, 1);
  }
  return text;
}

// In a reference keys are percent-encoded, too (RFC 3986).
std::string unescaped(std::string_view step) {
  std::string bytes, key;
  for (size_t i = 0; i < step.size(); ++i) {
    unsigned value = 0;
    if (step[i] == '%' && i + 2 < step.size() &&
        std::from_chars(&step[i + 1], &step[i + 3], value, 16).ptr == &step[i + 3]) {
      bytes += static_cast<char>(value);
      i += 2;
    } else {
      bytes += step[i];
    }
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '~' && i + 1 < bytes.size() && (bytes[i + 1] == '0' || bytes[i + 1] == '1')) {
      key += bytes[++i] == '0' ? '~' : '/';
    } else {
      key += bytes[i];
    }
  }
  return key;
}

}  // namespace

SchemaDocument::SchemaDocument() = default;
SchemaDocument::SchemaDocument(SchemaDocument&&) noexcept = default;
SchemaDocument::~SchemaDocument() = default;

Result<SchemaDocument> SchemaDocument::parse(std::string_view text, const GrammarLimits& limits) {
  if (text.size() > limits.schema_bytes_max) {
    return fail("the schema has {} bytes; the limit is {}", text.size(), limits.schema_bytes_max);
  }
  if (!SchemaJson::accept(text)) return fail("the schema is not valid JSON");
  Shape shape(limits.object_keys_max);
  HADAL_TRY_VOID(read_json(text, "the schema", shape,
                           {.depth_max = limits.schema_depth_max, .keys_max = text.size() + 1}));
  SchemaDocument document;
  document.root_ =
      std::make_unique<SchemaJson>(SchemaJson::parse(text, nullptr, /*allow_exceptions=*/false));
  document.number_values();
  return document;
}

void SchemaDocument::number_values() {
  const auto visit = [this](const auto& self, const SchemaJson& json, uint32_t parent,
                            std::string step) -> void {
    const auto number = static_cast<uint32_t>(values_.size());
    values_.push_back({&json, parent, std::move(step)});
    numbers_.emplace(&json, number);
    if (json.is_object()) {
      for (const auto& [key, value] : json.items()) self(self, value, number, key);
    } else if (json.is_array()) {
      for (size_t i = 0; i < json.size(); ++i) self(self, json[i], number, std::to_string(i));
    }
  };
  visit(visit, *root_, 0, "");
}

std::string SchemaDocument::place(uint32_t number) const {
  constexpr size_t kStepBytesMax = 64, kPlaceBytesMax = 300;
  std::string place;
  for (; number != 0; number = values_[number].parent) {
    std::string step = quote(escaped(values_[number].step), kStepBytesMax);
    place = "/" + step.substr(1, step.size() - 2) + place;
  }
  if (place.size() > kPlaceBytesMax) {
    place = "/..." + place.substr(place.find('/', place.size() - kPlaceBytesMax));
  }
  return "#" + place;
}

Result<uint32_t> SchemaDocument::resolve(std::string_view reference) const {
  if (reference != "#" && !reference.starts_with("#/")) {
    return fail("$ref {}: only \"#\" and \"#/...\", into the same schema, are supported",
                quote(reference));
  }
  const SchemaJson* at = root_.get();
  for (size_t i = 1; i < reference.size();) {
    const size_t end = std::min(reference.find('/', i + 1), reference.size());
    const std::string step = unescaped(reference.substr(i + 1, end - i - 1));
    i = end;
    const SchemaJson* next = nullptr;
    if (at->is_object()) {
      if (const auto found = at->find(step); found != at->end()) next = &*found;
    } else if (at->is_array()) {
      size_t index = 0;
      const auto read = std::from_chars(step.data(), step.data() + step.size(), index);
      const bool is_index = read.ec == std::errc() && read.ptr == step.data() + step.size();
      if (is_index && index < at->size()) next = &(*at)[index];
    }
    if (next == nullptr) return fail("$ref {}: there is nothing", quote(reference));
    at = next;
  }
  return number(*at);
}

bool equal_values(const SchemaJson& a, const SchemaJson& b) {
  if (a.is_number() && b.is_number()) return a == b;
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (a.is_array()) {
    return std::equal(a.begin(), a.end(), b.begin(), equal_values);
  }
  if (!a.is_object()) return a == b;
  for (const auto& [key, value] : a.items()) {
    const auto other = b.find(key);
    if (other == b.end() || !equal_values(value, *other)) return false;
  }
  return true;
}

std::string json_text(const SchemaJson& value) {
  return value.dump(-1, ' ', false, SchemaJson::error_handler_t::replace);
}

std::string json_string(const std::string& text) {
  return json_text(SchemaJson(text));
}

}  // namespace hadal
