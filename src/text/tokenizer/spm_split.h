// Cuts text that has no pre-tokenizer (SentencePiece) into stretches that cannot influence each
// other: between two characters that no merge ever joins. What comes out is the same as from the
// uncut text; short stretches merge faster, and repeat.
#pragma once

#include <string_view>

#include "text/tokenizer/bpe_merges.h"
#include "text/tokenizer/pre_tokenizer.h"

namespace hadal {

void split_where_nothing_joins(std::string_view text, const BpeMerges& merges, WordSink& sink);

}  // namespace hadal
