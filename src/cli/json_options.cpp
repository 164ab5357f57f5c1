#include "cli/json_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>

#include "base/json.h"
#include "file/text_file.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kFileBytesMax = 1 << 20;
constexpr size_t kShownBytesMax = 60;
constexpr int kDepthMax = 8;  // an option's list lies 2 deep

// The value as the file has it, or its beginning.
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kShownBytesMax) return text;
  size_t end = kShownBytesMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

enum class ValueType : uint8_t { kBoolean, kWhole, kNumber, kText, kTexts };

// An option's table says what it takes: a flag nothing; a type_name of N or S (seconds) whole
// numbers, MS (milliseconds) any; the others text, those that can be given several times a list.
ValueType type_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return ValueType::kBoolean;
  const std::string name = option.get_type_name();
  if (name == "N" || name == "S") return ValueType::kWhole;
  if (name == "MS") return ValueType::kNumber;
  return option.get_items_expected_max() > 1 ? ValueType::kTexts : ValueType::kText;
}

const char* in_words(ValueType type) {
  switch (type) {
    case ValueType::kBoolean:
      return "true or false";
    case ValueType::kWhole:
      return "a whole number";
    case ValueType::kNumber:
      return "a number";
    case ValueType::kText:
      return "a text in quotes";
    case ValueType::kTexts:
      return "a text in quotes or a list of such";
  }
  return "";
}

bool is_of(ValueType type, const Json& value) {
  switch (type) {
    case ValueType::kBoolean:
      return value.is_boolean();
    case ValueType::kWhole:
      return value.is_number_integer();
    case ValueType::kNumber:
      return value.is_number();
    case ValueType::kText:
      return value.is_string();
    case ValueType::kTexts:
      return value.is_string() ||
             (value.is_array() &&
              std::all_of(value.begin(), value.end(), [](const Json& e) { return e.is_string(); }));
  }
  return false;
}

// What the same value would be on the command line.
std::vector<std::string> words(const Json& value) {
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) return {value.dump()};
  std::vector<std::string> all;
  for (const Json& entry : value) all.push_back(entry.get<std::string>());
  return all;
}

Status apply(CLI::App& command, const std::string& key, const Json& value) {
  CLI::Option* option = command.get_option_no_throw("--" + key);
  if (option == nullptr) option = command.get_option_no_throw(key);
  if (option == nullptr || key == "config" || key == "help") {
    return fail("there is no option '{}'; `hadal {} --help` lists them", key, command.get_name());
  }
  const ValueType type = type_of(*option);
  if (!is_of(type, value)) {
    return fail("{}: {} was expected, not {}", key, in_words(type), shown(value));
  }
  if (option->count() > 0) return {};
  try {
    for (const std::string& word : words(value)) option->add_result(word);
    option->run_callback();
  } catch (const CLI::ParseError& error) {
    return fail("{}: {}, which {} is not", key, error.what(), shown(value));
  }
  return {};
}

// byte: the one that is wrong, counted from 1. Columns count characters.
std::string place_of(std::string_view text, size_t byte) {
  const std::string_view before =
      text.substr(0, std::min(byte - std::min<size_t>(byte, 1), text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::string_view head = before.substr(before.rfind('\n') + 1);
  const auto column = 1 + std::count_if(head.begin(), head.end(), [](char c) {
                        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
                      });
  return fmt::format("line {}, column {}", line, column);
}

Result<Json> parse(std::string_view text) {
  std::set<std::string> names;
  std::string twice;
  bool too_deep = false;
  const auto look = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDepthMax) {  // writing such a value again would take as many calls
      too_deep = true;
      return false;
    }
    if (event == Json::parse_event_t::key && depth == 1 && twice.empty()) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names.insert(name).second) twice = name;
    }
    return true;
  };
  try {
    Json object = Json::parse(text, look);
    if (too_deep) return fail("nests deeper than {} levels", kDepthMax);
    if (!twice.empty()) return fail("{} stands there twice", shown(twice));
    if (!object.is_object()) return fail("is no JSON object, such as {{\"port\": 9000}}");
    return object;
  } catch (const nlohmann::json::parse_error& error) {
    return fail("{}: this is no JSON", place_of(text, error.byte));
  } catch (const nlohmann::json::exception&) {
    return fail("a number in it is too large");
  }
}

}  // namespace

Status apply_json_options(CLI::App& command, const std::filesystem::path& file) {
  HADAL_TRY(const auto text, read_text_file(file, kFileBytesMax));
  if (!text) return fail("{} is not there", file.string());
  const auto object = parse(*text);
  if (!object) return fail("{}: {}", file.string(), object.error().message);
  for (const auto& [key, value] : object->items()) {
    if (const Status applied = apply(command, key, value); !applied) {
      return fail("{}: {}", file.string(), applied.error().message);
    }
  }
  return {};
}

}  // namespace hadal
