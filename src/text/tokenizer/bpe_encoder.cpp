#include "text/tokenizer/bpe_encoder.h"

#include <algorithm>
#include <bit>

#include "text/tokenizer/bpe_hash.h"
#include "text/unicode.h"

namespace hadal {
namespace {

constexpr size_t kCacheSlotsMin = 64;
constexpr size_t kBytesPerCacheSlot =
    16;  // text with fewer bytes than this a slot has few words that come back
constexpr size_t kBytesPerToken = 4;  // of English; a first guess for the reservation

bool is_added(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUnknown ||
         kind == TokenKind::kUserDefined;
}

}  // namespace

BpeEncoder::BpeEncoder(const BpeVocabulary& vocabulary, const BpeMerges& merges,
                       const BpeRules& rules, size_t text_bytes)
    : vocabulary_(vocabulary), rules_(rules), merger_(merges), seed_(hash_seed()) {
  const size_t slots =
      std::bit_ceil(std::clamp(text_bytes / kBytesPerCacheSlot, kCacheSlotsMin, kCacheSlotsMax));
  cache_.resize(slots);
  cache_mask_ = slots - 1;
  tokens_.reserve(text_bytes / kBytesPerToken + 16);
}

void BpeEncoder::word(size_t begin, size_t end) {
  begin += offset_;
  const std::string_view word = text_.substr(begin, end + offset_ - begin);
  if (word.size() > kCachedWordBytesMax) {
    encode(word);
    return;
  }
  const uint64_t hash = hash_bytes(word.data(), word.size(), seed_);
  CachedWord& cached = cache_[hash & cache_mask_];
  if (cached.hash == hash && cached.size == word.size() &&
      text_.substr(cached.begin, cached.size) == word) {
    const size_t old_size = tokens_.size();
    tokens_.resize(old_size + cached.tokens);
    std::copy_n(tokens_.data() + cached.first_token, cached.tokens, tokens_.data() + old_size);
    return;
  }
  const size_t first = tokens_.size();
  encode(word);
  cached = {.hash = hash,
            .begin = static_cast<uint32_t>(begin),
            .size = static_cast<uint32_t>(word.size()),
            .first_token = static_cast<uint32_t>(first),
            .tokens = static_cast<uint32_t>(tokens_.size() - first)};
}

Result<std::vector<TokenId>> BpeEncoder::take() {
  if (error_) return tl::unexpected<Error>(std::move(*error_));
  return std::move(tokens_);
}

void BpeEncoder::encode(std::string_view word) {
  if (rules_.ignore_merges && encode_whole(word)) return;
  while (!word.empty()) {
    size_t bytes = std::min(word.size(), kWordBytesMax);
    if (bytes < word.size()) bytes -= incomplete_utf8_suffix(word.substr(0, bytes));
    symbols_.clear();
    if (rules_.spelling == Spelling::kByteAlphabet) {
      spell_in_bytes(word.substr(0, bytes));
    } else {
      spell_in_characters(word.substr(0, bytes));
    }
    merger_.merge(symbols_, tokens_);
    word.remove_prefix(bytes);
  }
}

bool BpeEncoder::encode_whole(std::string_view word) {
  TokenId id = BpeVocabulary::kNone;
  if (rules_.spelling == Spelling::kByteAlphabet) {
    const ByteAlphabet& alphabet = ByteAlphabet::get();
    spelled_.clear();
    for (const char byte : word) spelled_ += alphabet.spelling(static_cast<uint8_t>(byte));
    id = vocabulary_.find(spelled_);
  } else {
    id = vocabulary_.find(word);
  }
  // A user-defined token of that spelling may mean other bytes.
  if (id == BpeVocabulary::kNone || is_added(vocabulary_.kind(id))) return false;
  tokens_.push_back(id);
  return true;
}

void BpeEncoder::spell_in_bytes(std::string_view word) {
  for (size_t i = 0; i < word.size(); ++i) {
    const TokenId id = vocabulary_.byte_token(static_cast<uint8_t>(word[i]));
    if (id == BpeVocabulary::kNone) {
      add_unknown(word.substr(i, 1));
    } else {
      symbols_.push_back(id);
    }
  }
}

void BpeEncoder::spell_in_characters(std::string_view word) {
  for (size_t at = 0; at < word.size();) {
    const DecodedCodePoint c = decode_code_point(word, at);
    const std::string_view part = word.substr(at, c.bytes);
    at += c.bytes;
    const TokenId id = c.value == kInvalidCodePoint ? BpeVocabulary::kNone : vocabulary_.find(part);
    if (id != BpeVocabulary::kNone) {
      symbols_.push_back(id);
      continue;
    }
    const bool in_bytes =
        rules_.byte_fallback && std::all_of(part.begin(), part.end(), [&](char byte) {
          return vocabulary_.byte_token(static_cast<uint8_t>(byte)) != BpeVocabulary::kNone;
        });
    if (!in_bytes) {
      add_unknown(part);
      continue;
    }
    for (const char byte : part) {
      symbols_.push_back(vocabulary_.byte_token(static_cast<uint8_t>(byte)));
    }
  }
}

void BpeEncoder::add_unknown(std::string_view part) {
  if (rules_.unknown) {
    const bool repeats = !symbols_.empty() && symbols_.back() == *rules_.unknown;
    if (!rules_.fuse_unknown || !repeats) symbols_.push_back(*rules_.unknown);
    return;
  }
  if (error_) return;
  std::string bytes;
  for (const char byte : part) bytes += fmt::format(" {:02X}", static_cast<uint8_t>(byte));
  error_ = Error{fmt::format(
      "the text holds the byte{}{}, which no token of this vocabulary spells, and the vocabulary "
      "has no token for the unknown",
      part.size() == 1 ? "" : "s", bytes)};
}

}  // namespace hadal
