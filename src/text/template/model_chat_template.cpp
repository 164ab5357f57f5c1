// Where a model keeps its chat template: a GGUF in its metadata; a Hugging Face folder in
// chat_template.jinja (newer), or in tokenizer_config.json as a string or as a list of named
// templates, of which "default" is the one for chat.
#include <optional>

#include "base/json.h"
#include "file/json_tree.h"
#include "file/model_file.h"
#include "text/tokenizer.h"

namespace hadal {
namespace {

Result<std::optional<std::string>> from_tokenizer_config(const ModelFile& file,
                                                         const std::string& text) {
  const auto problem = [&](std::string_view what) {
    return fail("{}/tokenizer_config.json: {}", file.path().string(), what);
  };
  constexpr int kDepthMax = 32;
  const auto tree = read_json_tree(text, "tokenizer_config.json", kDepthMax);
  if (!tree || !tree->is_object()) return problem("not a JSON object");
  const nlohmann::json& config = *tree;
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) {
    for (const nlohmann::json& named : *found) {
      if (named.is_object() && named.value("name", nlohmann::json()) == "default" &&
          named.contains("template") && named["template"].is_string()) {
        return named["template"].get<std::string>();
      }
    }
    return problem("chat_template is a list without a template named \"default\"");
  }
  return problem("chat_template is neither a string nor a list of named templates");
}

}  // namespace

Result<std::optional<std::string>> model_chat_template(const ModelFile& file) {
  if (file.dialect() == Dialect::kGguf) {
    constexpr std::string_view kKey = "tokenizer.chat_template";
    if (!file.metadata().has(kKey)) return std::nullopt;
    HADAL_TRY(const std::string_view text, file.metadata().string(kKey));
    return std::string(text);
  }
  HADAL_TRY(auto plain, file.side_file("chat_template.jinja"));
  if (plain) return plain;
  HADAL_TRY(const auto config, file.side_file("tokenizer_config.json"));
  if (!config) return std::nullopt;
  return from_tokenizer_config(file, *config);
}

}  // namespace hadal
