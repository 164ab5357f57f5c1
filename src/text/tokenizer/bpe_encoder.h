// Words to tokens, for one encode call: knows the words it has met, so that text costs one look-up
// a word. Not shared between threads; several may run over the same vocabulary and merges.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/bpe_merger.h"
#include "text/tokenizer/bpe_merges.h"
#include "text/tokenizer/bpe_vocabulary.h"
#include "text/tokenizer/pre_tokenizer.h"

namespace hadal {

struct BpeRules {
  Spelling spelling = Spelling::kByteAlphabet;
  bool ignore_merges = false, byte_fallback = false, fuse_unknown = false;
  std::optional<TokenId> unknown;
};

class BpeEncoder final : public WordSink {
 public:
  // text_bytes: about how much text will come; sets the size of the word cache.
  BpeEncoder(const BpeVocabulary& vocabulary, const BpeMerges& merges, const BpeRules& rules,
             size_t text_bytes);

  // Words that come are ranges of text.substr(offset). A later text must begin with the earlier
  // one; its place in memory may differ.
  void set_text(std::string_view text, size_t offset) {
    text_ = text;
    offset_ = offset;
  }
  void word(size_t begin, size_t end) override;
  void add(TokenId id) { tokens_.push_back(id); }

  // The tokens of all words so far. Error: a byte or character that the vocabulary cannot spell.
  Result<std::vector<TokenId>> take();

  // A longer word (no language has one) is cut at a character before it is merged: memory stays
  // bounded.
  static constexpr size_t kWordBytesMax = 4 << 20;
  // Longer words hardly come twice.
  static constexpr size_t kCachedWordBytesMax = 64;
  static constexpr size_t kCacheSlotsMax = 32768;

 private:
  struct CachedWord {  // by where the word was met and what it became there
    uint64_t hash = 0;
    uint32_t begin = 0, size = 0;
    uint32_t first_token = 0, tokens = 0;
  };
  void encode(std::string_view word);
  bool encode_whole(std::string_view word);
  void spell_in_bytes(std::string_view word);
  void spell_in_characters(std::string_view word);
  void add_unknown(std::string_view part);

  const BpeVocabulary& vocabulary_;
  const BpeRules& rules_;
  BpeMerger merger_;
  std::string_view text_;
  size_t offset_ = 0;
  std::vector<TokenId> tokens_;
  std::vector<CachedWord> cache_;
  size_t cache_mask_ = 0;
  uint64_t seed_ = 0;
  std::vector<TokenId> symbols_;  // of the word at hand
  std::string spelled_;           // the word at hand, in the byte alphabet
  std::optional<Error> error_;    // the first one
};

}  // namespace hadal
