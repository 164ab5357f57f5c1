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

class AddedTokens {
 public:
  static Result<AddedTokens> create(const VocabularySource& source,
                                    const BpeVocabulary& vocabulary);

  struct Match {
    size_t begin, end;  // with the white space that the token takes
    TokenId id;
  };

  // The first match that begins at `from` or later. Control tokens are matched only where they lie
  // wholly in one of the ranges, which are in order and do not touch. White space before `from` is
  // not taken.
  std::optional<Match> find(std::string_view text, size_t from,
                            std::span<const ByteRange> special) const;

  // A longer added token would make the search slow for nothing: the longest in use have some 60
  // bytes.
  static constexpr size_t kBytesMax = 512;

 private:
  struct Entry {
    std::string text;
    TokenId id;
    bool control;
    bool strip_left, strip_right, single_word;
  };
  const Entry* longest_at(std::string_view text, size_t at, size_t special_end) const;

  std::vector<Entry> entries_;                                      // by text
  std::array<std::pair<uint32_t, uint32_t>, 256> by_first_byte_{};  // ranges of entries_
};

}  // namespace hadal
