#include "unit/text/grammar/random_answer.h"

#include <vector>

namespace hadal::testing {

RandomAnswer random_answer(GrammarMasks& masks, const TokenTrie& trie, std::mt19937& random,
                           size_t tokens_max) {
  RandomAnswer answer;
  const auto mask = masks.start();
  std::vector<uint32_t> bits(trie.words());
  std::vector<TokenId> allowed, closing;
  const auto below = [&random](size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
  };
  while (answer.tokens < tokens_max) {
    mask->allowed(bits);
    allowed.clear();
    closing.clear();
    for (size_t id = 0; id < trie.vocabulary(); ++id) {
      if ((bits[id / 32] >> (id % 32) & 1) == 0) continue;
      allowed.push_back(static_cast<TokenId>(id));
      const std::string_view bytes = trie.bytes(static_cast<TokenId>(id));
      if (bytes == "\"" || bytes == "}" || bytes == "]") closing.push_back(allowed.back());
    }
    if (mask->may_end() && (allowed.empty() || answer.tokens > tokens_max / 8 || below(2) == 0)) {
      answer.is_complete = true;
      return answer;
    }
    if (allowed.empty()) {
      answer.is_stuck = true;
      return answer;
    }
    const bool closes = !closing.empty() && below(8) < (answer.tokens > tokens_max / 8 ? 7u : 2u);
    const TokenId token = closes ? closing[below(closing.size())] : allowed[below(allowed.size())];
    mask->accept(token);
    answer.text += trie.bytes(token);
    ++answer.tokens;
  }
  answer.is_complete = mask->may_end();
  return answer;
}

}  // namespace hadal::testing
