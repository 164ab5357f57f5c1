#include "cli/json_options.h"

#include <CLI/CLI.hpp>

#include "base/json.h"
#include "file/text_file.h"

namespace hadal {
namespace {

constexpr uint64_t kFileBytesMax = 1 << 20;

// What the same value would be on the command line.
Result<std::vector<std::string>> words(const nlohmann::json& value) {
  if (value.is_string()) return std::vector{value.get<std::string>()};
  if (value.is_number() || value.is_boolean()) return std::vector{value.dump()};
  if (!value.is_array()) return fail("a string, a number, true, false or a list was expected");
  std::vector<std::string> all;
  for (const nlohmann::json& entry : value) {
    if (entry.is_array()) return fail("a list in a list means nothing here");
    HADAL_TRY(const std::vector<std::string> one, words(entry));
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

Status apply(CLI::App& command, const std::string& key, const nlohmann::json& value) {
  CLI::Option* option = command.get_option_no_throw("--" + key);
  if (option == nullptr) option = command.get_option_no_throw(key);
  if (option == nullptr || key == "config" || key == "help") {
    return fail("there is no option '{}'; `hadal {} --help` lists them", key, command.get_name());
  }
  if (option->count() > 0) return {};
  const auto given = words(value);
  if (!given) return fail("{}: {}", key, given.error().message);
  try {
    for (const std::string& word : *given) option->add_result(word);
    option->run_callback();
  } catch (const CLI::ParseError& error) {
    return fail("{}: {}", key, error.what());
  }
  return {};
}

}  // namespace

Status apply_json_options(CLI::App& command, const std::filesystem::path& file) {
  HADAL_TRY(const auto text, read_text_file(file, kFileBytesMax));
  if (!text) return fail("{} is not there", file.string());
  const auto object = nlohmann::json::parse(*text, nullptr, false);
  if (!object.is_object()) return fail("{} is no JSON object", file.string());
  for (const auto& [key, value] : object.items()) {
    if (const Status applied = apply(command, key, value); !applied) {
      return fail("{}: {}", file.string(), applied.error().message);
    }
  }
  return {};
}

}  // namespace hadal
