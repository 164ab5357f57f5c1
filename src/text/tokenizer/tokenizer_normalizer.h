// What happens to text before it is cut into words: a space in front, replacements, a Unicode
// normal form.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/tokenizer_source.h"

namespace hadal {

class Normalizer {
 public:
  // Errors: too many steps.
  static Result<Normalizer> create(const VocabularySource& source);

  bool changes_nothing() const { return steps_.empty() && prefix_ == SpacePrefix::kNever; }

  // Of text, that become one byte at most (a space's "▁" counts as one); 0: that is not bounded.
  uint64_t bytes_to_one_max() const;

  // Appends the normalized stretch. starts_text: nothing came before it, not even an added token.
  // Bytes that are not UTF-8 pass unchanged. Errors: the text grows beyond kBytesMax.
  Status append(std::string_view stretch, bool starts_text, std::string& normalized) const;

  static constexpr size_t kStepsMax = 64;
  static constexpr size_t kBytesMax = 4 * Tokenizer::kTextBytesMax;

 private:
  SpacePrefix prefix_ = SpacePrefix::kNever;
  bool prefix_only_if_missing_ = false;
  std::vector<NormalizerStep> steps_;
};

}  // namespace hadal
