// The one Tokenizer: byte-level BPE and SentencePiece BPE differ only in how words are spelled and
// where merges come from.
#include <algorithm>
#include <array>

#include "text/tokenizer.h"
#include "text/tokenizer/bpe_encoder.h"
#include "text/tokenizer/bpe_merges.h"
#include "text/tokenizer/bpe_vocabulary.h"
#include "text/tokenizer/spm_split.h"
#include "text/tokenizer/tokenizer_added.h"
#include "text/tokenizer/tokenizer_normalizer.h"
#include "text/tokenizer/tokenizer_source.h"

namespace hadal {
namespace {

// Control tokens that end an answer wherever they are in a vocabulary, whatever the file calls its
// end of sequence.
constexpr std::array<std::string_view, 16> kEndSpellings = {
    "<｜end▁of▁sentence｜>", "<|im_end|>", "<|eot_id|>",  "<|eom_id|>",    "<|endoftext|>",
    "<|end_of_text|>",       "<|end|>",    "<|EOT|>",     "<EOT>",         "</s>",
    "<end_of_turn>",         "<eos>",      "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
    "<end_of_utterance>"};

class BpeTokenizer final : public Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> create(const VocabularySource& source);

  Result<std::vector<TokenId>> encode(std::string_view text, SpecialTokens special) const override;
  Result<std::vector<TokenId>> encode(std::span<const TextPiece> pieces) const override;
  uint64_t least_tokens(uint64_t bytes) const override {
    return token_text_bytes_max_ == 0 ? 0 : bytes / token_text_bytes_max_;
  }
  std::string_view token_bytes(TokenId id) const override {
    return vocabulary_.has(id) ? vocabulary_.bytes(id) : std::string_view();
  }
  std::string decode(std::span<const TokenId> ids, SpecialTokens special) const override;

  uint32_t vocabulary_size() const override { return vocabulary_.size(); }
  bool is_special(TokenId id) const override {
    return vocabulary_.has(id) && (vocabulary_.kind(id) == TokenKind::kControl ||
                                   vocabulary_.kind(id) == TokenKind::kUnknown);
  }
  std::optional<TokenId> find(std::string_view piece) const override {
    const TokenId id = vocabulary_.find(piece);
    return id == BpeVocabulary::kNone ? std::nullopt : std::optional(id);
  }
  std::optional<TokenId> bos() const override { return bos_; }
  bool adds_bos() const override { return adds_bos_; }
  bool adds_eos() const override { return adds_eos_; }
  std::span<const TokenId> end_tokens() const override { return ends_; }
  std::string_view kind() const override {
    return rules_.spelling == Spelling::kByteAlphabet ? "byte-level BPE" : "SentencePiece BPE";
  }
  std::string_view pre_tokenizer() const override { return pre_tokenizer_name_; }

 private:
  BpeTokenizer(BpeVocabulary vocabulary, BpeMerges merges, AddedTokens added, Normalizer normalizer)
      : vocabulary_(std::move(vocabulary)),
        merges_(std::move(merges)),
        added_(std::move(added)),
        normalizer_(std::move(normalizer)) {}

  Status take_ids(const VocabularySource& source);
  uint64_t token_text_bytes_max(const VocabularySource& source) const;
  Result<std::vector<TokenId>> encode(std::string_view text, const TextTrust& trust) const;
  Status split(std::string_view text, WordSink& sink) const;

  BpeVocabulary vocabulary_;
  BpeMerges merges_;
  AddedTokens added_;
  Normalizer normalizer_;
  BpeRules rules_;
  PreTokenizer pre_tokenizer_;
  bool splits_where_nothing_joins_ = false;
  SpacePrefix space_prefix_ = SpacePrefix::kNever;
  bool drops_prefix_ = false;
  std::string pre_tokenizer_name_;
  std::optional<TokenId> bos_;
  std::vector<TokenId> ends_;
  bool adds_bos_ = false, adds_eos_ = false;
  uint64_t token_text_bytes_max_ = 0;  // of text, that one token can stand for; 0: no bound
};

Result<std::unique_ptr<Tokenizer>> BpeTokenizer::create(const VocabularySource& source) {
  HADAL_TRY(BpeVocabulary vocabulary, BpeVocabulary::create(source));
  if (!source.scores.empty() && source.scores.size() != source.tokens.size()) {
    return fail("{}: {} tokens but {} scores", source.file, source.tokens.size(),
                source.scores.size());
  }
  HADAL_TRY(BpeMerges merges, BpeMerges::create(source, vocabulary));
  HADAL_TRY(AddedTokens added, AddedTokens::create(source, vocabulary));
  HADAL_TRY(Normalizer normalizer, Normalizer::create(source));
  std::unique_ptr<BpeTokenizer> tokenizer(new BpeTokenizer(
      std::move(vocabulary), std::move(merges), std::move(added), std::move(normalizer)));
  HADAL_TRY_VOID(tokenizer->take_ids(source));
  tokenizer->rules_ = {.spelling = source.spelling,
                       .ignore_merges = source.ignore_merges,
                       .byte_fallback = source.byte_fallback,
                       .fuse_unknown = source.fuse_unknown,
                       .unknown = source.unknown};
  tokenizer->pre_tokenizer_ = source.pre_tokenizer;
  tokenizer->pre_tokenizer_name_ = source.pre_tokenizer_name;
  // With ignore_merges a word counts as a whole, so it may not be cut.
  tokenizer->splits_where_nothing_joins_ = source.spelling != Spelling::kByteAlphabet &&
                                           !source.ignore_merges &&
                                           source.pre_tokenizer.splits_nothing();
  tokenizer->space_prefix_ = source.space_prefix;
  // GPT-2's own decoder leaves the space that its encoder put there.
  tokenizer->drops_prefix_ =
      source.space_prefix != SpacePrefix::kNever && source.spelling != Spelling::kByteAlphabet;
  tokenizer->token_text_bytes_max_ = tokenizer->token_text_bytes_max(source);
  return tokenizer;
}

uint64_t BpeTokenizer::token_text_bytes_max(const VocabularySource& source) const {
  constexpr uint64_t kCharacterBytesMax = 4;  // an unknown one is a token
  const bool takes_space = std::ranges::any_of(source.added_rules, [](const AddedTokenRule& rule) {
    return rule.strip_left || rule.strip_right;
  });
  bool spells_all = source.byte_fallback || source.spelling == Spelling::kByteAlphabet;
  for (int byte = 0; byte < 256; ++byte) {
    spells_all &= vocabulary_.byte_token(static_cast<uint8_t>(byte)) != BpeVocabulary::kNone;
  }
  if (takes_space || pre_tokenizer_.drops_text() ||
      (source.fuse_unknown && source.unknown && !spells_all))
    return 0;
  uint64_t longest = kCharacterBytesMax;
  for (uint32_t id = 0; id < vocabulary_.size(); ++id) {
    longest = std::max<uint64_t>(longest, vocabulary_.bytes(static_cast<TokenId>(id)).size());
  }
  return longest * normalizer_.bytes_to_one_max();
}

Status BpeTokenizer::take_ids(const VocabularySource& source) {
  const auto check = [&](std::optional<TokenId> id, std::string_view role) -> Status {
    if (!id || vocabulary_.has(*id)) return {};
    return fail("{}: the {} token is {}, but the vocabulary has {} tokens", source.file, role, *id,
                vocabulary_.size());
  };
  HADAL_TRY_VOID(check(source.bos, "beginning-of-sequence"));
  HADAL_TRY_VOID(check(source.eos, "end-of-sequence"));
  HADAL_TRY_VOID(check(source.unknown, "unknown"));
  bos_ = source.bos;
  adds_bos_ = source.adds_bos && bos_.has_value();
  adds_eos_ = source.adds_eos && source.eos.has_value();
  if (source.eos) ends_.push_back(*source.eos);
  for (const TokenId id : source.ends) {
    HADAL_TRY_VOID(check(id, "end-of-turn"));
    ends_.push_back(id);
  }
  for (const std::string_view spelling : kEndSpellings) {
    const TokenId id = vocabulary_.find(spelling);
    if (id != BpeVocabulary::kNone && vocabulary_.kind(id) == TokenKind::kControl) {
      ends_.push_back(id);
    }
  }
  std::sort(ends_.begin(), ends_.end());
  ends_.erase(std::unique(ends_.begin(), ends_.end()), ends_.end());
  return {};
}

Result<std::vector<TokenId>> BpeTokenizer::encode(std::string_view text,
                                                  SpecialTokens special) const {
  const ByteRange whole{0, text.size()};
  const size_t ranges = special == SpecialTokens::kParsed ? 1 : 0;
  return encode(text, TextTrust{.special = {&whole, ranges}});
}

Result<std::vector<TokenId>> BpeTokenizer::encode(std::span<const TextPiece> pieces) const {
  size_t size = 0;
  for (const TextPiece& piece : pieces) size += piece.text.size();
  std::string text;
  text.reserve(size);
  std::vector<ByteRange> special;
  for (const TextPiece& piece : pieces) {
    const size_t begin = text.size();
    text += piece.text;
    if (!piece.special || piece.text.empty()) continue;
    if (!special.empty() && special.back().end == begin) {
      special.back().end = text.size();
    } else {
      special.push_back({begin, text.size()});
    }
  }
  return encode(text, TextTrust{.special = special, .conversation = true});
}

Result<std::vector<TokenId>> BpeTokenizer::encode(std::string_view text,
                                                  const TextTrust& trust) const {
  if (text.size() > kTextBytesMax) {
    return fail("the text has {} bytes, more than the limit of {}", text.size(), kTextBytesMax);
  }
  BpeEncoder encoder(vocabulary_, merges_, rules_, text.size());
  const bool as_it_is = normalizer_.changes_nothing();
  std::string normalized;
  for (size_t at = 0; at < text.size();) {
    const std::optional<AddedTokens::Match> match = added_.find(text, at, trust);
    const size_t end = match ? match->begin : text.size();
    if (at < end && as_it_is) {
      // Nothing behind `end` may be seen: the stretch is split as if the text ended there.
      encoder.set_text(text.substr(0, end), at);
      HADAL_TRY_VOID(split(text.substr(at, end - at), encoder));
    } else if (at < end) {
      const size_t begin = normalized.size();
      HADAL_TRY_VOID(normalizer_.append(text.substr(at, end - at), at == 0, normalized));
      encoder.set_text(normalized, begin);
      HADAL_TRY_VOID(split(std::string_view(normalized).substr(begin), encoder));
    }
    if (!match) break;
    encoder.add(match->id);
    at = match->end;
  }
  return encoder.take();
}

Status BpeTokenizer::split(std::string_view text, WordSink& sink) const {
  if (splits_where_nothing_joins_) {
    split_where_nothing_joins(text, merges_, sink);
    return {};
  }
  return pre_tokenizer_.split(text, sink);
}

std::string BpeTokenizer::decode(std::span<const TokenId> ids, SpecialTokens special) const {
  std::string text;
  bool stretch_begins = true;  // where encode may have put a space
  for (const TokenId id : ids) {
    if (!vocabulary_.has(id)) continue;
    const TokenKind kind = vocabulary_.kind(id);
    const std::string_view bytes = vocabulary_.bytes(id);
    if (is_special(id) || kind == TokenKind::kUserDefined) {
      if (special == SpecialTokens::kParsed || !is_special(id)) text += bytes;
      stretch_begins = space_prefix_ == SpacePrefix::kEach;
      continue;
    }
    const bool drops_space = stretch_begins && drops_prefix_ && bytes.starts_with(' ');
    text += drops_space ? bytes.substr(1) : bytes;
    stretch_begins = false;
  }
  return text;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_tokenizer(const VocabularySource& source) {
  return BpeTokenizer::create(source);
}

}  // namespace hadal
