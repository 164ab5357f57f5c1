// The tokenizer of a Hugging Face folder: tokenizer.json or its predecessors, and the small JSON
// files around it.
#include <algorithm>

#include "base/json.h"
#include "base/utf8.h"
#include "text/tokenizer/tokenizer_json_text.h"
#include "text/tokenizer/tokenizer_readers.h"

namespace hadal {
namespace {

using nlohmann::json;

// A side file as JSON; null where there is none.
Result<json> read_side_json(const SideFiles& files, const std::string& folder,
                            std::string_view name) {
  HADAL_TRY(const std::optional<std::string> text, files(name));
  if (!text) return json();
  HADAL_TRY(json parsed, parse_json(*text, fmt::format("{}/{}", folder, name)));
  if (!parsed.is_object()) return fail("{}/{}: is no JSON object", folder, name);
  return parsed;
}

std::optional<TokenId> find_token(const VocabularySource& source, std::string_view text) {
  // Added tokens are behind the vocabulary in most files.
  const auto found = std::find(source.tokens.rbegin(), source.tokens.rend(), text);
  if (text.empty() || found == source.tokens.rend()) return std::nullopt;
  return static_cast<TokenId>(source.tokens.rend() - found - 1);
}

// "bos_token" is a string, or an object with the string as its content.
std::string token_name(const json& config, const char* key) {
  if (!config.is_object() || !config.contains(key)) return "";
  const json& value = config[key];
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  return "";
}

bool flag(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

// "added_tokens_decoder": {"151643": {"content": "<|endoftext|>", "special": true, ...}, ...}
Status read_added_decoder(const json& config, VocabularySource& source) {
  const auto decoder = config.find("added_tokens_decoder");
  if (decoder == config.end() || !decoder->is_object()) return {};
  for (const auto& [key, token] : decoder->items()) {
    uint64_t id = 0;
    const bool digits =
        !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    if (digits) id = std::stoull(key);
    if (!digits || !token.is_object() || !token.contains("content") ||
        !token["content"].is_string()) {
      return fail("{}: the added token {} of tokenizer_config.json has no id or no content",
                  source.file, quote(key));
    }
    const std::string content = token["content"];
    // Where the vocabulary has the id for another token, it has the last word.
    if (id < source.tokens.size() && !source.tokens[id].empty() && source.tokens[id] != content) {
      continue;
    }
    HADAL_TRY_VOID(add_added_token(source, id, content, flag(token, "special"),
                                   {.strip_left = flag(token, "lstrip"),
                                    .strip_right = flag(token, "rstrip"),
                                    .single_word = flag(token, "single_word")}));
  }
  return {};
}

// added_tokens.json, older than the decoder: {"<|im_start|>": 151644, ...}
Status read_added_list(const json& added, VocabularySource& source) {
  if (!added.is_object()) return {};
  for (const auto& [content, id] : added.items()) {
    if (!id.is_number_unsigned()) {
      return fail("{}: the added token {} of added_tokens.json has no id", source.file,
                  quote(content));
    }
    const uint64_t number = id.get<uint64_t>();
    if (number < source.tokens.size() && !source.tokens[number].empty()) continue;
    const bool special = content.starts_with('<') && content.ends_with('>');
    HADAL_TRY_VOID(add_added_token(source, number, content, special, {}));
  }
  return {};
}

void read_config(const json& config, const json& special_map, VocabularySource& source) {
  const auto take = [&](const char* key, std::optional<TokenId>& id) {
    for (const json* const file : {&config, &special_map}) {
      if (const auto found = find_token(source, token_name(*file, key))) {
        id = found;
        return;
      }
    }
  };
  take("bos_token", source.bos);
  take("eos_token", source.eos);
  if (!config.is_object()) return;
  if (config.contains("add_bos_token") && config["add_bos_token"].is_boolean()) {
    source.adds_bos = config["add_bos_token"];
  }
  if (config.contains("add_eos_token") && config["add_eos_token"].is_boolean()) {
    source.adds_eos = config["add_eos_token"];
  }
}

// "eos_token_id": 1 or [1, 2]. These files serve many vocabularies; ids beyond this one mean
// nothing here.
void read_ids(const json& config, VocabularySource& source) {
  if (!config.is_object()) return;
  const auto in_vocabulary = [&](const json& id) {
    return id.is_number_unsigned() && id.get<uint64_t>() < source.tokens.size();
  };
  if (const auto bos = config.find("bos_token_id");
      bos != config.end() && !source.bos && in_vocabulary(*bos)) {
    source.bos = bos->get<TokenId>();
  }
  const auto eos = config.find("eos_token_id");
  if (eos == config.end()) return;
  for (const json& id : eos->is_array() ? *eos : json::array({*eos})) {
    if (!in_vocabulary(id)) continue;
    if (!source.eos) source.eos = id.get<TokenId>();
    source.ends.push_back(id.get<TokenId>());
  }
}

// vocab.json and its like do not name their pre-tokenizer: the tokenizer's class does, or the
// model's type, or, for the bare two files, the number of tokens (which no two of these families
// share).
std::string_view guess_pre_tokenizer(const json& config, const json& model, size_t tokens) {
  const auto text = [](const json& object, const char* key) -> std::string {
    return object.is_object() && object.contains(key) && object[key].is_string()
               ? object[key].get<std::string>()
               : "";
  };
  const std::string tokenizer_class = text(config, "tokenizer_class");
  const std::string model_type = text(model, "model_type");
  if (tokenizer_class.starts_with("Qwen2")) return "qwen2";
  if (tokenizer_class.starts_with("GPT2")) return "gpt-2";
  if (model_type.starts_with("qwen3_5")) return "qwen35";
  if (model_type.starts_with("qwen")) return "qwen2";
  if (model_type == "llama") return "llama-bpe";
  constexpr size_t kQwen2Tokens = 151643, kLlama3Tokens = 128000;
  if (tokens == kQwen2Tokens) return "qwen2";
  if (tokens == kLlama3Tokens) return "llama-bpe";
  return "gpt-2";
}

// The lines of merges.txt: "#version: ..." first, then two tokens with a space between them.
Status read_merges_text(std::string_view text, VocabularySource& source) {
  bool first = true;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool heading = first && line.starts_with("#version");
    first = false;
    if (heading || line.empty()) continue;
    if (source.merges.size() == VocabularySource::kMergesMax) {
      return fail("{}: more than {} merges", source.file, VocabularySource::kMergesMax);
    }
    const size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string_view::npos) {
      return fail("{}: merge {} is {}; expected two tokens with one space between them",
                  source.file, source.merges.size(), quote(line));
    }
    source.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return {};
}

Status read_two_files(std::string vocabulary, std::string merges, const json& config,
                      const json& model, VocabularySource& source) {
  const std::string_view vocabulary_text = source.owned.emplace_back(std::move(vocabulary));
  const std::string_view merges_text = source.owned.emplace_back(std::move(merges));
  JsonCursor cursor(vocabulary_text, source.file);
  HADAL_TRY_VOID(read_vocabulary_object(cursor, source));
  HADAL_TRY_VOID(cursor.end());
  HADAL_TRY_VOID(read_merges_text(merges_text, source));
  source.kinds.assign(source.tokens.size(), TokenKind::kNormal);
  const std::string_view name = guess_pre_tokenizer(config, model, source.tokens.size());
  HADAL_TRY(source.pre_tokenizer, PreTokenizer::named(name));
  source.pre_tokenizer_name = name;
  source.ignore_merges = source.pre_tokenizer.default_ignore_merges();
  // Qwen's tokenizers compose accents first, and say so in their code alone.
  if (name.starts_with("qwen")) {
    source.normalizer.push_back({.kind = NormalizerStep::Kind::kForm, .form = NormalForm::kNfc});
  }
  return {};
}

Result<VocabularySource> read_vocabulary(const SideFiles& files, const std::string& folder,
                                         const json& config, const json& model) {
  HADAL_TRY(std::optional<std::string> tokenizer, files("tokenizer.json"));
  if (tokenizer) return read_tokenizer_json(std::move(*tokenizer), folder + "/tokenizer.json");
  constexpr std::pair<std::string_view, std::string_view> kPairs[] = {
      {"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}};
  for (const auto& [vocabulary_name, merges_name] : kPairs) {
    HADAL_TRY(std::optional<std::string> vocabulary, files(vocabulary_name));
    if (!vocabulary) continue;
    HADAL_TRY(std::optional<std::string> merges, files(merges_name));
    if (!merges) {
      return fail("{}: has {} but not the {} that goes with it; download it as well", folder,
                  vocabulary_name, merges_name);
    }
    VocabularySource source;
    source.file = fmt::format("{}/{}", folder, vocabulary_name);
    HADAL_TRY_VOID(
        read_two_files(std::move(*vocabulary), std::move(*merges), config, model, source));
    return source;
  }
  HADAL_TRY(const std::optional<std::string> piece_model, files("tokenizer.model"));
  return fail(
      "{}: has no tokenizer that can be read: neither tokenizer.json, nor vocab.json and "
      "merges.txt, nor encoder.json and vocab.bpe{}",
      folder,
      piece_model ? "; its tokenizer.model alone is not enough, download tokenizer.json "
                    "as well"
                  : "");
}

}  // namespace

Result<VocabularySource> read_folder_vocabulary(const SideFiles& files, const std::string& folder) {
  HADAL_TRY(const json config, read_side_json(files, folder, "tokenizer_config.json"));
  HADAL_TRY(const json model, read_side_json(files, folder, "config.json"));
  HADAL_TRY(VocabularySource source, read_vocabulary(files, folder, config, model));
  if (config.is_object()) HADAL_TRY_VOID(read_added_decoder(config, source));
  HADAL_TRY(const json added, read_side_json(files, folder, "added_tokens.json"));
  HADAL_TRY_VOID(read_added_list(added, source));
  HADAL_TRY(const json special_map, read_side_json(files, folder, "special_tokens_map.json"));
  read_config(config, special_map, source);
  HADAL_TRY(const json generation, read_side_json(files, folder, "generation_config.json"));
  read_ids(generation, source);
  read_ids(model, source);
  return source;
}

}  // namespace hadal
