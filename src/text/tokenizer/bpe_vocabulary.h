// The tokens of a vocabulary: by id, and by spelling through a flat hash table. Immutable after
// creation.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/tokenizer_source.h"

namespace hadal {

// GPT-2's alphabet: the printable characters of Latin-1 stand for themselves, the other 68 bytes
// for U+0100 and on.
class ByteAlphabet {
 public:
  static const ByteAlphabet& get();
  std::string_view spelling(uint8_t byte) const { return spellings_[byte]; }
  // Appends the bytes that the spelling stands for; false, and nothing, if some character is not of
  // the alphabet.
  bool decode(std::string_view spelling, std::string& bytes) const;

 private:
  ByteAlphabet();
  std::array<std::string, 256> spellings_;
  std::array<int16_t, 0x144> byte_of_;  // by code point; -1: not in the alphabet
};

class BpeVocabulary {
 public:
  static constexpr TokenId kNone = -1;

  static Result<BpeVocabulary> create(const VocabularySource& source);

  uint32_t size() const { return static_cast<uint32_t>(kinds_.size()); }
  TokenId find(std::string_view spelling) const;
  std::string_view spelling(TokenId id) const { return part(spellings_, spelling_ends_, id); }
  std::string_view bytes(TokenId id) const { return part(bytes_, bytes_ends_, id); }
  TokenKind kind(TokenId id) const { return kinds_[static_cast<size_t>(id)]; }
  bool has(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < kinds_.size(); }

  // The token that stands for one byte alone, or kNone.
  TokenId byte_token(uint8_t byte) const { return byte_tokens_[byte]; }

 private:
  // Ends rather than views: the strings may move with the object.
  static std::string_view part(const std::string& text, const std::vector<uint32_t>& ends,
                               TokenId id) {
    const size_t i = static_cast<size_t>(id);
    const uint32_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(text).substr(begin, ends[i] - begin);
  }
  TokenId insert(std::string_view spelling, TokenId id);
  void append_bytes(std::string_view spelling, TokenKind kind, Spelling style);
  void find_byte_tokens(Spelling style);

  std::string spellings_, bytes_;
  std::vector<uint32_t> spelling_ends_, bytes_ends_;
  std::vector<TokenKind> kinds_;
  std::vector<uint64_t> slots_;  // hash in the upper half, id + 1 in the lower; 0: free
  size_t slot_mask_ = 0;
  uint64_t seed_ = 0;
  std::array<TokenId, 256> byte_tokens_;
};

}  // namespace hadal
