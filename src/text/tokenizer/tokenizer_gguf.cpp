// The tokenizer of a GGUF file. The keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <algorithm>

#include "base/utf8.h"
#include "text/tokenizer/tokenizer_readers.h"

namespace hadal {
namespace {

constexpr std::string_view kModel = "tokenizer.ggml.model";
constexpr std::string_view kPre = "tokenizer.ggml.pre";
constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kMerges = "tokenizer.ggml.merges";

Result<std::optional<TokenId>> token_id(const Metadata& metadata, std::string_view key) {
  if (!metadata.has(key)) return std::nullopt;
  HADAL_TRY(const uint64_t id, metadata.unsigned_integer(key));
  // Some writers say "no such token" with 2^32 - 1.
  if (id == UINT32_MAX) return std::nullopt;
  if (id > INT32_MAX) return fail("{}: {} is {}, which is no token", metadata.file(), key, id);
  return static_cast<TokenId>(id);
}

Status read_flag(const Metadata& metadata, std::string_view key, bool& flag) {
  if (!metadata.has(key)) return {};
  HADAL_TRY(flag, metadata.boolean(key));
  return {};
}

Status read_types(const Metadata& metadata, VocabularySource& source) {
  if (!metadata.has(kTypes)) return {};
  HADAL_TRY(const std::vector<int64_t> types, metadata.integers(kTypes));
  if (types.size() != source.tokens.size()) {
    return fail("{}: {} has {} entries for {} tokens", source.file, kTypes, types.size(),
                source.tokens.size());
  }
  source.kinds.reserve(types.size());
  for (const int64_t type : types) {
    const bool known = type >= static_cast<int64_t>(TokenKind::kNormal) &&
                       type <= static_cast<int64_t>(TokenKind::kByte);
    source.kinds.push_back(known ? static_cast<TokenKind>(type) : TokenKind::kUnused);
  }
  return {};
}

Status read_byte_level(const Metadata& metadata, VocabularySource& source) {
  source.spelling = Spelling::kByteAlphabet;
  std::string_view pre;
  if (metadata.has(kPre)) {
    HADAL_TRY(pre, metadata.string(kPre));
  }
  auto pre_tokenizer = PreTokenizer::named(pre);
  if (!pre_tokenizer) {
    return fail("{}: {}: {}", source.file, kPre, pre_tokenizer.error().message);
  }
  source.pre_tokenizer = *pre_tokenizer;
  source.pre_tokenizer_name = pre.empty() ? std::string(pre_tokenizer->name()) : std::string(pre);
  source.ignore_merges = pre_tokenizer->default_ignore_merges();
  source.adds_bos = pre_tokenizer->default_adds_bos();
  HADAL_TRY(const auto merges, metadata.strings(kMerges));
  source.merges.reserve(merges.size());
  for (const std::string_view merge : merges) {
    // The first token is at least one byte, so a space at the start belongs to it.
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      return fail("{}: {}: entry {} is {}; expected two tokens with a space between them",
                  source.file, kMerges, source.merges.size(), quote(merge));
    }
    source.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return {};
}

Status read_sentence_piece(const Metadata& metadata, VocabularySource& source) {
  source.spelling = Spelling::kSpaceMarker;
  source.byte_fallback = true;
  source.adds_bos = true;
  source.bos = 1;
  source.eos = 2;
  source.unknown = 0;
  bool space_prefix = true;
  HADAL_TRY_VOID(read_flag(metadata, "tokenizer.ggml.add_space_prefix", space_prefix));
  source.space_prefix = space_prefix ? SpacePrefix::kEach : SpacePrefix::kNever;
  source.normalizer.push_back({.kind = NormalizerStep::Kind::kReplace, .what = " ", .with = "▁"});
  if (metadata.has(kScores)) {
    HADAL_TRY(source.scores, metadata.floats(kScores));
    if (source.scores.size() != source.tokens.size()) {
      return fail("{}: {} has {} entries for {} tokens", source.file, kScores, source.scores.size(),
                  source.tokens.size());
    }
  } else {
    source.scores.assign(source.tokens.size(), 0.0f);
  }
  return {};
}

Status read_ids(const Metadata& metadata, VocabularySource& source) {
  const auto take = [&](std::string_view key, std::optional<TokenId>& id) -> Status {
    if (!metadata.has(key)) return {};
    HADAL_TRY(id, token_id(metadata, key));
    return {};
  };
  HADAL_TRY_VOID(take("tokenizer.ggml.bos_token_id", source.bos));
  HADAL_TRY_VOID(take("tokenizer.ggml.eos_token_id", source.eos));
  HADAL_TRY_VOID(take("tokenizer.ggml.unknown_token_id", source.unknown));
  for (const std::string_view key :
       {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    HADAL_TRY(const auto id, token_id(metadata, key));
    if (id) source.ends.push_back(*id);
  }
  HADAL_TRY_VOID(read_flag(metadata, "tokenizer.ggml.add_bos_token", source.adds_bos));
  return read_flag(metadata, "tokenizer.ggml.add_eos_token", source.adds_eos);
}

}  // namespace

Result<VocabularySource> read_gguf_vocabulary(const Metadata& metadata) {
  VocabularySource source;
  source.file = metadata.file();
  if (!metadata.has(kModel)) {
    return fail("{}: has no tokenizer (the key {} is missing)", source.file, kModel);
  }
  HADAL_TRY(const std::string_view model, metadata.string(kModel));
  HADAL_TRY(const auto tokens, metadata.strings(kTokens));
  source.tokens.assign(tokens.begin(), tokens.end());
  HADAL_TRY_VOID(read_types(metadata, source));
  if (model == "gpt2") {
    HADAL_TRY_VOID(read_byte_level(metadata, source));
  } else if (model == "llama") {
    HADAL_TRY_VOID(read_sentence_piece(metadata, source));
  } else {
    return fail(
        "{}: the tokenizer {} is not supported; supported are gpt2 (byte-level BPE) and "
        "llama (SentencePiece BPE)",
        source.file, quote(model));
  }
  HADAL_TRY_VOID(read_ids(metadata, source));
  return source;
}

}  // namespace hadal
