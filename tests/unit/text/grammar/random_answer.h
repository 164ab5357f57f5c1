// What a model without a mind writes under a mask: any allowed token, and after a while rather one
// that brings the answer to its end.
#pragma once

#include <random>
#include <string>

#include "text/grammar/grammar_masks.h"
#include "text/grammar/token_trie.h"

namespace hadal::testing {

struct RandomAnswer {
  std::string text;
  bool is_complete = false;  // it ended, or could have
  bool is_stuck = false;     // nothing was allowed before the end: always a defect
  size_t tokens = 0;
};

RandomAnswer random_answer(GrammarMasks& masks, const TokenTrie& trie, std::mt19937& random,
                           size_t tokens_max);

}  // namespace hadal::testing
