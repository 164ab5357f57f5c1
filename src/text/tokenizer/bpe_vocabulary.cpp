#include "text/tokenizer/bpe_vocabulary.h"

#include <algorithm>
#include <bit>

#include "base/utf8.h"
#include "text/tokenizer/bpe_hash.h"
#include "text/unicode.h"

namespace hadal {
namespace {

constexpr std::string_view kSpaceMark = "▁";

// "<0x0A>" is 10; -1: not of this form.
int byte_of_spelling(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling.back() != '>') return -1;
  int value = 0;
  for (const char c : spelling.substr(3, 2)) {
    int digit;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      return -1;
    }
    value = value * 16 + digit;
  }
  return value;
}

}  // namespace

const ByteAlphabet& ByteAlphabet::get() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

ByteAlphabet::ByteAlphabet() {
  byte_of_.fill(-1);
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    const uint32_t code_point = printable ? byte : next++;
    append_code_point(spellings_[byte], code_point);
    byte_of_[code_point] = static_cast<int16_t>(byte);
  }
}

bool ByteAlphabet::decode(std::string_view spelling, std::string& bytes) const {
  const size_t old_size = bytes.size();
  for (size_t at = 0; at < spelling.size();) {
    const uint8_t first = static_cast<uint8_t>(spelling[at]);
    uint32_t code_point = first;
    // The alphabet has characters of one or two bytes; what else begins a sequence is looked up in
    // vain.
    if (first >= 0xc2 && first <= 0xdf && at + 1 < spelling.size() &&
        (static_cast<uint8_t>(spelling[at + 1]) & 0xc0) == 0x80) {
      code_point = (first & 0x1fu) << 6 | (static_cast<uint8_t>(spelling[++at]) & 0x3f);
    } else if (first >= 0x80) {
      code_point = static_cast<uint32_t>(byte_of_.size());
    }
    ++at;
    if (code_point >= byte_of_.size() || byte_of_[code_point] < 0) {
      bytes.resize(old_size);
      return false;
    }
    bytes += static_cast<char>(byte_of_[code_point]);
  }
  return true;
}

Result<BpeVocabulary> BpeVocabulary::create(const VocabularySource& source) {
  const size_t count = source.tokens.size();
  if (count == 0) return fail("{}: the vocabulary has no tokens", source.file);
  if (count > VocabularySource::kTokensMax) {
    return fail("{}: the vocabulary has {} tokens, more than the limit of {}", source.file, count,
                VocabularySource::kTokensMax);
  }
  if (!source.kinds.empty() && source.kinds.size() != count) {
    return fail("{}: {} tokens but {} token types", source.file, count, source.kinds.size());
  }
  size_t text_bytes = 0;
  for (const std::string_view token : source.tokens) text_bytes += token.size();
  if (text_bytes > UINT32_MAX) {
    return fail("{}: the tokens take {} bytes, more than the limit of 4 GiB", source.file,
                text_bytes);
  }

  BpeVocabulary vocabulary;
  vocabulary.seed_ = hash_seed();
  vocabulary.spellings_.reserve(text_bytes);
  vocabulary.bytes_.reserve(text_bytes);
  vocabulary.spelling_ends_.reserve(count);
  vocabulary.bytes_ends_.reserve(count);
  vocabulary.kinds_ = source.kinds;
  if (vocabulary.kinds_.empty()) vocabulary.kinds_.assign(count, TokenKind::kNormal);
  vocabulary.slots_.assign(std::bit_ceil(count + count / 3 + 1), 0);
  vocabulary.slot_mask_ = vocabulary.slots_.size() - 1;

  for (size_t id = 0; id < count; ++id) {
    const std::string_view token = source.tokens[id];
    vocabulary.spellings_ += token;
    vocabulary.spelling_ends_.push_back(static_cast<uint32_t>(vocabulary.spellings_.size()));
    vocabulary.append_bytes(token, vocabulary.kinds_[id], source.spelling);
    if (token.empty()) continue;
    const TokenId other = vocabulary.insert(token, static_cast<TokenId>(id));
    if (other != kNone) {
      return fail("{}: tokens {} and {} are both {}", source.file, other, id, quote(token));
    }
  }
  vocabulary.find_byte_tokens(source.spelling);
  return vocabulary;
}

void BpeVocabulary::append_bytes(std::string_view spelling, TokenKind kind, Spelling style) {
  const bool written_out =
      kind == TokenKind::kControl || kind == TokenKind::kUserDefined || kind == TokenKind::kUnknown;
  const int byte = kind == TokenKind::kByte ? byte_of_spelling(spelling) : -1;
  if (byte >= 0) {
    bytes_ += static_cast<char>(byte);
  } else if (written_out || style == Spelling::kPlain) {
    bytes_ += spelling;
  } else if (style == Spelling::kByteAlphabet) {
    if (!ByteAlphabet::get().decode(spelling, bytes_)) bytes_ += spelling;
  } else {
    for (size_t at = 0; at < spelling.size();) {
      const bool mark = spelling.substr(at, kSpaceMark.size()) == kSpaceMark;
      bytes_ += mark ? ' ' : spelling[at];
      at += mark ? kSpaceMark.size() : 1;
    }
  }
  bytes_ends_.push_back(static_cast<uint32_t>(bytes_.size()));
}

void BpeVocabulary::find_byte_tokens(Spelling style) {
  byte_tokens_.fill(kNone);
  if (style == Spelling::kByteAlphabet) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const TokenId id = find(ByteAlphabet::get().spelling(static_cast<uint8_t>(byte)));
      // A user-defined token of that spelling means the character, not the byte.
      if (id != kNone && bytes(id).size() == 1 &&
          static_cast<uint8_t>(bytes(id)[0]) == static_cast<uint8_t>(byte)) {
        byte_tokens_[byte] = id;
      }
    }
    return;
  }
  for (size_t id = 0; id < kinds_.size(); ++id) {
    if (kinds_[id] != TokenKind::kByte) continue;
    const int byte = byte_of_spelling(spelling(static_cast<TokenId>(id)));
    if (byte >= 0) byte_tokens_[static_cast<size_t>(byte)] = static_cast<TokenId>(id);
  }
}

// kNone, or the token that has this spelling already.
TokenId BpeVocabulary::insert(std::string_view spelling, TokenId id) {
  const uint64_t hash = hash_bytes(spelling.data(), spelling.size(), seed_);
  size_t slot = hash & slot_mask_;
  for (; slots_[slot] != 0; slot = (slot + 1) & slot_mask_) {
    if ((slots_[slot] ^ hash) >> 32 != 0) continue;
    const TokenId other = static_cast<TokenId>((slots_[slot] & 0xffffffff) - 1);
    if (this->spelling(other) == spelling) return other;
  }
  slots_[slot] = (hash & 0xffffffff00000000) | (static_cast<uint64_t>(id) + 1);
  return kNone;
}

TokenId BpeVocabulary::find(std::string_view spelling) const {
  if (spelling.empty()) return kNone;
  const uint64_t hash = hash_bytes(spelling.data(), spelling.size(), seed_);
  for (size_t slot = hash & slot_mask_; slots_[slot] != 0; slot = (slot + 1) & slot_mask_) {
    if ((slots_[slot] ^ hash) >> 32 != 0) continue;
    const TokenId id = static_cast<TokenId>((slots_[slot] & 0xffffffff) - 1);
    if (this->spelling(id) == spelling) return id;
  }
  return kNone;
}

}  // namespace hadal
