// What a tokenizer.json does to text before BPE, in terms of VocabularySource.

#include "base/json.h"
#include "base/utf8.h"
#include "text/tokenizer/tokenizer_readers.h"

namespace hadal {
namespace {

using nlohmann::json;

// Sequences may hold sequences; flattened, they have at most this many parts.
constexpr size_t kPartsMax = 64;

std::string type_of(const json& part) {
  return part.is_object() && part.contains("type") && part["type"].is_string()
             ? part["type"].get<std::string>()
             : "";
}

bool flag(const json& part, const char* key, bool otherwise) {
  const auto found = part.find(key);
  return found != part.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

std::string text_of(const json& part, const char* key, std::string otherwise) {
  const auto found = part.find(key);
  return found != part.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

// The parts of a tree of sequences, in order; `list` is the key under which a sequence holds its
// parts.
Status flatten(const json& part, const char* list, const std::string& file,
               std::vector<const json*>& parts) {
  if (part.is_null()) return {};
  if (type_of(part) == "Sequence" && part.contains(list) && part[list].is_array()) {
    for (const json& inner : part[list]) {
      HADAL_TRY_VOID(flatten(inner, list, file, parts));
    }
    return {};
  }
  if (parts.size() == kPartsMax) {
    return fail("{}: more than {} {}", file, kPartsMax, list);
  }
  parts.push_back(&part);
  return {};
}

Status read_normalizer(const json& part, bool first, VocabularySource& source) {
  const std::string type = type_of(part);
  constexpr std::pair<std::string_view, NormalForm> kForms[] = {{"NFC", NormalForm::kNfc},
                                                                {"NFD", NormalForm::kNfd},
                                                                {"NFKC", NormalForm::kNfkc},
                                                                {"NFKD", NormalForm::kNfkd}};
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    source.normalizer.push_back({.kind = NormalizerStep::Kind::kForm, .form = form});
    return {};
  }
  if (type == "Prepend") {
    const std::string text = text_of(part, "prepend", "");
    if (first && (text == "▁" || text == " ")) {
      source.space_prefix = SpacePrefix::kEach;
    } else {
      source.normalizer.push_back({.kind = NormalizerStep::Kind::kPrepend, .what = text});
    }
    return {};
  }
  if (type == "Replace" && part.contains("pattern") && part["pattern"].is_object()) {
    const std::string what = text_of(part["pattern"], "String", "");
    if (!what.empty()) {
      const std::string with = text_of(part, "content", "");
      if (what == " " && with == "▁") source.spelling = Spelling::kSpaceMarker;
      source.normalizer.push_back(
          {.kind = NormalizerStep::Kind::kReplace, .what = what, .with = with});
      return {};
    }
  }
  if (type == "ByteLevel") {
    source.spelling = Spelling::kByteAlphabet;
    return {};
  }
  return fail("{}: the normalizer {} is not supported", source.file,
              type == "Replace" ? "Replace with a regular expression" : quote(type));
}

Result<SplitBehavior> behavior_of(const json& part, const std::string& file) {
  constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Isolated", SplitBehavior::kIsolated},
      {"Removed", SplitBehavior::kRemoved},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  const std::string name = text_of(part, "behavior", "Isolated");
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  return fail("{}: the split behavior {} is not known", file, quote(name));
}

Status read_split(const json& part, std::vector<SplitStage>& stages, const std::string& file) {
  SplitStage stage{.invert = flag(part, "invert", false)};
  HADAL_TRY(stage.behavior, behavior_of(part, file));
  const json pattern = part.value("pattern", json());
  if (pattern.is_object()) {
    stage.literal = pattern.contains("String");
    stage.pattern = text_of(pattern, stage.literal ? "String" : "Regex", "");
  }
  if (stage.pattern.empty()) return fail("{}: a Split pre-tokenizer has no pattern", file);
  stages.push_back(std::move(stage));
  return {};
}

void read_metaspace(const json& part, std::vector<SplitStage>& stages, VocabularySource& source) {
  const std::string mark = text_of(part, "replacement", "▁");
  const bool prefix = flag(part, "add_prefix_space", true);  // older files have this alone
  const std::string scheme = text_of(part, "prepend_scheme", prefix ? "always" : "never");
  source.spelling = mark == "▁" ? Spelling::kSpaceMarker : Spelling::kPlain;
  source.space_prefix = scheme == "never"   ? SpacePrefix::kNever
                        : scheme == "first" ? SpacePrefix::kFirst
                                            : SpacePrefix::kEach;
  source.prefix_only_if_missing = true;
  source.normalizer.push_back({.kind = NormalizerStep::Kind::kReplace, .what = " ", .with = mark});
  if (flag(part, "split", true)) {
    stages.push_back(
        {.pattern = mark, .behavior = SplitBehavior::kMergedWithNext, .literal = true});
  }
}

Status read_pre_tokenizer(const json& part, bool first, std::vector<SplitStage>& stages,
                          VocabularySource& source) {
  const std::string type = type_of(part);
  if (type == "Split") return read_split(part, stages, source.file);
  if (type == "ByteLevel") {
    source.spelling = Spelling::kByteAlphabet;
    if (flag(part, "add_prefix_space", true)) {
      if (!first) {
        return fail("{}: a ByteLevel pre-tokenizer that adds spaces behind others is not supported",
                    source.file);
      }
      source.space_prefix = SpacePrefix::kEach;
      source.prefix_only_if_missing = true;
    }
    if (flag(part, "use_regex", true)) stages.push_back({.pattern = known_patterns("gpt-2")[0]});
  } else if (type == "Digits") {
    stages.push_back(
        {.pattern = flag(part, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)"});
  } else if (type == "Metaspace" && first) {
    read_metaspace(part, stages, source);
  } else if (type == "Punctuation") {
    HADAL_TRY(const SplitBehavior behavior, behavior_of(part, source.file));
    stages.push_back({.pattern = R"([\p{P}!-/:-@\[-`{-~])", .behavior = behavior});
  } else if (type == "WhitespaceSplit") {
    stages.push_back({.pattern = R"(\s+)", .behavior = SplitBehavior::kRemoved});
  } else if (type == "Whitespace") {
    stages.push_back({.pattern = R"([\p{L}\p{M}\p{N}\p{Pc}]+|[^\p{L}\p{M}\p{N}\p{Pc}\s]+)",
                      .behavior = SplitBehavior::kRemoved,
                      .invert = true});
  } else {
    return fail("{}: the pre-tokenizer {} is not supported{}", source.file, quote(type),
                type == "Metaspace" ? " behind others" : "");
  }
  return {};
}

}  // namespace

Status read_json_rules(const json& normalizer, const json& pre_tokenizer,
                       VocabularySource& source) {
  source.spelling = Spelling::kPlain;
  std::vector<const json*> parts;
  HADAL_TRY_VOID(flatten(normalizer, "normalizers", source.file, parts));
  for (const json* const part : parts) {
    HADAL_TRY_VOID(read_normalizer(*part, part == parts.front(), source));
  }
  parts.clear();
  HADAL_TRY_VOID(flatten(pre_tokenizer, "pretokenizers", source.file, parts));
  std::vector<SplitStage> stages;
  for (const json* const part : parts) {
    HADAL_TRY_VOID(read_pre_tokenizer(*part, part == parts.front(), stages, source));
  }
  auto splitter = PreTokenizer::from_stages(std::move(stages));
  if (!splitter) return fail("{}: {}", source.file, splitter.error().message);
  source.pre_tokenizer = *splitter;
  source.pre_tokenizer_name = std::string(splitter->name());
  return {};
}

}  // namespace hadal
