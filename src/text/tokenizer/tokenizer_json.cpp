// tokenizer.json, the format of Hugging Face's tokenizers library
// (https://huggingface.co/docs/tokenizers).
#include <algorithm>

#include "base/json.h"
#include "base/utf8.h"
#include "text/tokenizer/tokenizer_json_text.h"
#include "text/tokenizer/tokenizer_readers.h"

namespace hadal {
namespace {

using nlohmann::json;

bool flag(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::optional<std::string> text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

Status read_model(JsonCursor& cursor, VocabularySource& source) {
  json rest = json::object();
  bool has_vocabulary = false, has_merges = false;
  HADAL_TRY_VOID(cursor.members([&](const std::string& key) -> Status {
    if (key == "vocab" && cursor.peek() == '{') {
      has_vocabulary = true;
      return read_vocabulary_object(cursor, source);
    }
    if (key == "merges" && cursor.peek() == '[') {
      has_merges = true;
      return read_merges_list(cursor, source);
    }
    HADAL_TRY(const std::string_view value, cursor.slice());
    if (key == "vocab" || key == "merges") return {};  // of some other form, perhaps very long
    HADAL_TRY(rest[key], parse_json(value, source.file));
    return {};
  }));
  const std::string type = text_of(rest, "type").value_or("BPE");
  if (type != "BPE" || !has_vocabulary || !has_merges) {
    return fail("{}: the tokenizer model is {}; supported is BPE with a vocabulary and merges",
                source.file, type);
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!text_of(rest, key).value_or("").empty()) {
      return fail("{}: a tokenizer with {} is not supported", source.file, key);
    }
  }
  source.ignore_merges = flag(rest, "ignore_merges");
  source.byte_fallback = flag(rest, "byte_fallback");
  source.fuse_unknown = flag(rest, "fuse_unk");
  source.kinds.assign(source.tokens.size(), TokenKind::kNormal);
  for (size_t id = 0; source.byte_fallback && id < source.tokens.size(); ++id) {
    const std::string_view token = source.tokens[id];
    if (token.size() == 6 && token.starts_with("<0x")) source.kinds[id] = TokenKind::kByte;
  }
  if (const auto unknown = text_of(rest, "unk_token")) {
    const auto found = std::find(source.tokens.begin(), source.tokens.end(), *unknown);
    if (found != source.tokens.end()) {
      source.unknown = static_cast<TokenId>(found - source.tokens.begin());
      source.kinds[static_cast<size_t>(*source.unknown)] = TokenKind::kUnknown;
    }
  }
  return {};
}

Status read_added_tokens(const json& added, VocabularySource& source) {
  if (!added.is_array()) return fail("{}: added_tokens is no list", source.file);
  for (const json& token : added) {
    const auto id = token.is_object() ? token.find("id") : token.end();
    const auto content = token.is_object() ? text_of(token, "content") : std::nullopt;
    if (!content || id == token.end() || !id->is_number_unsigned()) {
      return fail("{}: an added token has no id or no content", source.file);
    }
    HADAL_TRY_VOID(add_added_token(source, id->get<uint64_t>(), *content, flag(token, "special"),
                                   {.strip_left = flag(token, "lstrip"),
                                    .strip_right = flag(token, "rstrip"),
                                    .single_word = flag(token, "single_word")}));
  }
  return {};
}

// A template post-processor puts special tokens before and behind the text; it may stand in a
// sequence of processors.
void read_post_processor(const json& processor, VocabularySource& source) {
  if (!processor.is_object()) return;
  const std::string type = text_of(processor, "type").value_or("");
  if (type == "Sequence" && processor.contains("processors")) {
    for (const json& part : processor["processors"]) {
      if (text_of(part, "type") != "Sequence") read_post_processor(part, source);
    }
    return;
  }
  if (type != "TemplateProcessing" || !processor.contains("single")) return;
  const json& parts = processor["single"];
  if (!parts.is_array() || parts.size() < 2) return;
  const auto special = [&](const json& part) -> std::optional<TokenId> {
    if (!part.is_object() || !part.contains("SpecialToken")) return std::nullopt;
    const auto name = text_of(part["SpecialToken"], "id");
    const auto found = std::find(source.tokens.begin(), source.tokens.end(), name.value_or(""));
    if (!name || name->empty() || found == source.tokens.end()) return std::nullopt;
    return static_cast<TokenId>(found - source.tokens.begin());
  };
  if (const auto id = special(parts.front())) {
    source.adds_bos = true;
    source.bos = id;
  }
  if (const auto id = special(parts.back())) {
    source.adds_eos = true;
    source.eos = id;
  }
}

}  // namespace

Status add_added_token(VocabularySource& source, uint64_t id, std::string_view content,
                       bool special, AddedTokenRule rule) {
  if (content.empty()) return {};
  constexpr size_t kGapMax = 1 << 16;  // ids between the vocabulary and an added token behind it
  if (id >= VocabularySource::kTokensMax || id > source.tokens.size() + kGapMax) {
    return fail("{}: the added token {} has the id {}, far beyond the vocabulary of {} tokens",
                source.file, quote(content), id, source.tokens.size());
  }
  if (id >= source.tokens.size()) source.tokens.resize(id + 1);
  source.kinds.resize(source.tokens.size(), TokenKind::kNormal);
  std::string_view& token = source.tokens[id];
  if (token.empty()) {
    token = source.owned.emplace_back(content);
  } else if (token != content) {
    return fail("{}: the id {} is {} in the vocabulary and {} among the added tokens", source.file,
                id, quote(token), quote(content));
  }
  source.kinds[id] = special ? TokenKind::kControl : TokenKind::kUserDefined;
  rule.id = static_cast<TokenId>(id);
  source.added_rules.push_back(rule);
  return {};
}

Result<VocabularySource> read_tokenizer_json(std::string text, std::string file) {
  VocabularySource source;
  source.file = std::move(file);
  const std::string_view owned = source.owned.emplace_back(std::move(text));
  if (valid_utf8_prefix(owned) != owned.size()) {
    return fail("{}: is not UTF-8, at byte {}", source.file, valid_utf8_prefix(owned));
  }
  JsonCursor cursor(owned, source.file);
  json rest = json::object();
  bool has_model = false;
  HADAL_TRY_VOID(cursor.members([&](const std::string& key) -> Status {
    if (key == "model" && cursor.peek() == '{') {
      has_model = true;
      return read_model(cursor, source);
    }
    HADAL_TRY(const std::string_view value, cursor.slice());
    HADAL_TRY(rest[key], parse_json(value, source.file));
    return {};
  }));
  HADAL_TRY_VOID(cursor.end());
  if (!has_model) return fail("{}: has no tokenizer model", source.file);
  if (rest.contains("added_tokens") && !rest["added_tokens"].is_null()) {
    HADAL_TRY_VOID(read_added_tokens(rest["added_tokens"], source));
  }
  HADAL_TRY_VOID(read_json_rules(rest.value("normalizer", json()),
                                 rest.value("pre_tokenizer", json()), source));
  read_post_processor(rest.value("post_processor", json()), source);
  return source;
}

}  // namespace hadal
