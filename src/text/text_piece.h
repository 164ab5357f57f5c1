// A run of prompt text together with where it came from: the border between a chat template and the
// people who use it.
//
// A rendered prompt is a list of pieces. The tokenizer looks for special tokens ("<|im_end|>") only
// where the whole token lies in bytes whose piece says `special`; all other text is tokenized
// exactly as the joined text of all pieces would be, so a border between two pieces never changes
// how words are split or merged.
#pragma once

#include <string>

namespace hadal {

struct TextPiece {
  std::string text;      // UTF-8
  bool special = false;  // true: written by the template or the tokenizer's own files; false: by a
                         // user, a model, a tool

  bool operator==(const TextPiece&) const = default;
};

}  // namespace hadal
