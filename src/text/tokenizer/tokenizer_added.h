// Finds added tokens (control and user-defined) in text: at each place the longest, from left to
// right.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/bpe_vocabulary.h"
#include "text/tokenizer/tokenizer_source.h"

namespace hadal {

struct ByteRange {
  size_t begin = 0, end = 0;
};

// Which bytes of a text may hold which added tokens: control tokens only those that lie wholly in
// one of `special`, which are in order and do not touch. User-defined tokens may lie anywhere, but
// in a conversation those that are spelled like control tokens ("<｜User｜>" of DeepSeek-V3, which
// its file calls none) are held to the same ranges: a message cannot speak as somebody else.
struct TextTrust {
  std::span<const ByteRange> special;
  bool conversation = false;
};

class AddedTokens {
 public:
  static Result<AddedTokens> create(const VocabularySource& source,
                                    const BpeVocabulary& vocabulary);

  struct Match {
    size_t begin, end;  // with the white space that the token takes
    TokenId id;
  };

  // The first match that begins at `from` or later. White space before `from` is not taken.
  std::optional<Match> find(std::string_view text, size_t from, const TextTrust& trust) const;

  // A longer added token would make the search slow for nothing: the longest in use have some 60
  // bytes.
  static constexpr size_t kBytesMax = 512;

 private:
  struct Entry {
    std::string text;
    TokenId id;
    bool control;
    bool mark;  // spelled like a control token
    bool strip_left, strip_right, single_word;
  };
  const Entry* longest_at(std::string_view text, size_t at, size_t special_end,
                          bool conversation) const;

  std::vector<Entry> entries_;                                      // by text
  std::array<std::pair<uint32_t, uint32_t>, 256> by_first_byte_{};  // ranges of entries_
};

}  // namespace hadal
