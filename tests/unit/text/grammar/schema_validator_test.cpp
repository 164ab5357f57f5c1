#include "unit/text/grammar/schema_validator.h"

#include <arpa/inet.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <gtest/gtest.h>
#include <pcre2.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <stdexcept>

namespace hadal::testing {
namespace {

using Json = nlohmann::json;

bool is_found(const std::string& pattern, const std::string& text) {
  int error = 0;
  size_t at = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX, &error, &at, nullptr);
  if (code == nullptr) throw std::runtime_error("pattern " + pattern);
  pcre2_match_data* match = pcre2_match_data_create_from_pattern(code, nullptr);
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                match, nullptr);
  pcre2_match_data_free(match);
  pcre2_code_free(code);
  return found >= 0;
}

bool is_date(const std::string& text) {
  if (!is_found("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", text)) return false;
  const int year = std::stoi(text.substr(0, 4)), month = std::stoi(text.substr(5, 2));
  const int day = std::stoi(text.substr(8, 2));
  const bool leaps = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  const int days[] = {31, leaps ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

bool is_time(const std::string& text) {
  if (!is_found("^[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?([zZ]|[+-][0-9]{2}:[0-9]{2})$", text)) {
    return false;
  }
  const int hour = std::stoi(text.substr(0, 2)), minute = std::stoi(text.substr(3, 2));
  const int second = std::stoi(text.substr(6, 2));
  int ahead = 0;
  if (std::tolower(text.back()) != 'z') {
    const std::string zone = text.substr(text.size() - 6);
    const int hours = std::stoi(zone.substr(1, 2)), minutes = std::stoi(zone.substr(4, 2));
    if (hours > 23 || minutes > 59) return false;
    ahead = (zone[0] == '-' ? -1 : 1) * (hours * 60 + minutes);
  }
  const int utc = (hour * 60 + minute - ahead + 2 * 1440) % 1440;
  return hour < 24 && minute < 60 && (second < 60 || (second == 60 && utc == 1439));
}

bool is_host(const std::string& text) {
  if (text.empty() || text.size() > 253 || text.back() == '.') return false;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('.', begin), text.size());
    const std::string label = text.substr(begin, end - begin);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' ||
        label.find_first_not_of(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
            std::string::npos ||
        label.substr(0, 4).ends_with("--")) {
      return false;
    }
    begin = end + 1;
  }
  return true;
}

bool is_of_format(const std::string& format, const std::string& text) {
  if (format == "date") return is_date(text);
  if (format == "time") return is_time(text);
  if (format == "date-time") {
    return text.size() > 11 && is_date(text.substr(0, 10)) && std::toupper(text[10]) == 'T' &&
           is_time(text.substr(11));
  }
  if (format == "duration") {
    return is_found(
               "^P(?=.)(\\d+W|(\\d+Y(?=\\d+M|T|$))?(\\d+M(?=\\d+D|T|$))?(\\d+D)?"
               "(T(?=\\d)(\\d+H(?!\\d+S))?(\\d+M)?(\\d+S)?)?)$",
               text) &&
           !is_found("[^\\x20-\\x7e]", text);
  }
  if (format == "uuid") {
    std::string dashes;
    for (const char c : text) dashes += std::isxdigit(static_cast<unsigned char>(c)) ? 'x' : c;
    return dashes == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  }
  unsigned char address[16];
  const bool has_nul = text.find('\0') != std::string::npos;
  if (has_nul && format.starts_with("ip")) return false;
  if (format == "ipv4") return inet_pton(AF_INET, text.c_str(), address) == 1;
  if (format == "ipv6") return inet_pton(AF_INET6, text.c_str(), address) == 1;
  if (format == "json-pointer") {
    if (!text.empty() && text[0] != '/') return false;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '~' && (i + 1 == text.size() || (text[i + 1] != '0' && text[i + 1] != '1'))) {
        return false;
      }
    }
    return true;
  }
  if (format == "hostname") return is_host(text);
  if (format == "email") {
    const size_t at = text.rfind('@');
    constexpr const char* kLocal = "^[\\w!#$%&'*+/=?^`{|}~-]+(\\.[\\w!#$%&'*+/=?^`{|}~-]+)*$";
    return at != std::string::npos && at > 0 && at <= 64 && is_host(text.substr(at + 1)) &&
           is_found(kLocal, text.substr(0, at));
  }
  if (format == "uri") {
    constexpr const char* kCharacters =
        "^[a-zA-Z][a-zA-Z0-9+.-]*:([\\w.~!$&'()*+,;=:@/?#\\[\\]-]|%[0-9a-fA-F]{2})*$";
    return is_found(kCharacters, text) && std::count(text.begin(), text.end(), '#') <= 1 &&
           (!is_found("^https?:", text) ||
            is_found("^https?://([^/?#@\\[\\]]*@)?[^/?#:@\\[\\]]+(:[0-9]*)?([/?#].*)?$", text));
  }
  throw std::runtime_error("format " + format);
}

bool is_of_type(const std::string& type, const Json& value) {
  if (type == "integer") {
    return value.is_number() && std::floor(value.get<double>()) == value.get<double>();
  }
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

size_t characters_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// %25 -> %
std::string decoded(const std::string& reference) {
  std::string text;
  for (size_t i = 0; i < reference.size(); ++i) {
    if (reference[i] == '%') {
      text += static_cast<char>(std::stoi(reference.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      text += reference[i];
    }
  }
  return text;
}

bool holds_for_object(const std::string& keyword, const Json& want, const Json& value,
                      const Json& schema, const Json& root) {
  if (keyword == "required") {
    return std::all_of(want.begin(), want.end(),
                       [&](const Json& name) { return value.contains(name.get<std::string>()); });
  }
  const Json none = Json::object();
  const Json& declared = schema.contains("properties") ? schema["properties"] : none;
  for (const auto& [key, child] : value.items()) {
    if (keyword == "properties" && want.contains(key) && !is_valid(child, want[key], root)) {
      return false;
    }
    if (keyword == "additionalProperties" && !declared.contains(key) &&
        !is_valid(child, want, root)) {
      return false;
    }
  }
  return true;
}

bool holds_for_list(const std::string& keyword, const Json& want, const Json& value,
                    const Json& schema, const Json& root) {
  if (keyword == "minItems") return value.size() >= want.get<double>();
  if (keyword == "maxItems") return value.size() <= want.get<double>();
  const bool is_prefix = want.is_array();
  size_t begin = 0;
  if (keyword == "items" && schema.contains("prefixItems")) begin = schema["prefixItems"].size();
  if (keyword == "additionalItems") {
    if (!schema.contains("items") || !schema["items"].is_array()) return true;
    begin = schema["items"].size();
  }
  for (size_t i = begin; i < value.size(); ++i) {
    if (is_prefix && i >= want.size()) break;
    if (!is_valid(value[i], is_prefix ? want[i] : want, root)) return false;
  }
  return true;
}

bool holds(const std::string& keyword, const Json& want, const Json& value, const Json& schema,
           const Json& root) {
  static const std::set<std::string> ignored = {"$schema",  "$comment",    "$defs",   "definitions",
                                                "title",    "description", "default", "$id",
                                                "examples", "nullable",    "$anchor"};
  if (ignored.contains(keyword)) return true;
  const auto branch = [&](const Json& schema_of_branch) {
    return is_valid(value, schema_of_branch, root);
  };
  if (keyword == "$ref") {
    return is_valid(value, root.at(Json::json_pointer(decoded(want).substr(1))), root);
  }
  if (keyword == "allOf") return std::all_of(want.begin(), want.end(), branch);
  if (keyword == "anyOf") return std::any_of(want.begin(), want.end(), branch);
  if (keyword == "oneOf") return std::count_if(want.begin(), want.end(), branch) == 1;
  if (keyword == "const") return value == want;
  if (keyword == "enum") return std::find(want.begin(), want.end(), value) != want.end();
  if (keyword == "uniqueItems" && want == false) return true;
  if (keyword == "type") {
    if (value.is_null() && schema.value("nullable", false)) return true;
    if (want.is_string()) return is_of_type(want, value);
    return std::any_of(want.begin(), want.end(),
                       [&](const Json& type) { return is_of_type(type, value); });
  }
  const std::set<std::string> of_objects = {"properties", "required", "additionalProperties"};
  const std::set<std::string> of_lists = {"items", "prefixItems", "minItems", "maxItems",
                                          "additionalItems"};
  if (of_objects.contains(keyword)) {
    return !value.is_object() || holds_for_object(keyword, want, value, schema, root);
  }
  if (of_lists.contains(keyword)) {
    return !value.is_array() || holds_for_list(keyword, want, value, schema, root);
  }
  if (keyword == "minimum") return !value.is_number() || value >= want;
  if (keyword == "maximum") return !value.is_number() || value <= want;
  if (keyword == "exclusiveMinimum") return !value.is_number() || value > want;
  if (keyword == "exclusiveMaximum") return !value.is_number() || value < want;
  if (!value.is_string() && (keyword == "minLength" || keyword == "maxLength" ||
                             keyword == "pattern" || keyword == "format")) {
    return true;
  }
  if (keyword == "minLength") return characters_of(value) >= want.get<double>();
  if (keyword == "maxLength") return characters_of(value) <= want.get<double>();
  if (keyword == "pattern") return is_found(want, value);
  if (keyword == "format") return is_of_format(want, value);
  throw std::runtime_error("keyword " + keyword);
}

}  // namespace

bool is_valid(const Json& instance, const Json& schema, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>();
  for (const auto& [keyword, want] : schema.items()) {
    if (!holds(keyword, want, instance, schema, root)) return false;
  }
  return true;
}

}  // namespace hadal::testing
