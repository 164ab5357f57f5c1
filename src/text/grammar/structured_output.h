// What a server asks for: the mask of a schema, for one model. Keeps the grammars of the schemas
// that were asked for last. Any thread; compiling takes up to a fraction of a second, so not the
// engine's.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/grammar/grammar.h"
#include "text/grammar/grammar_masks.h"
#include "text/grammar/token_mask.h"
#include "text/tokenizer.h"

namespace hadal {

struct AnswerForm {
  std::vector<GrammarPart> parts;  // the answer is one of them
  // Free text up to and including this comes first, such as "</think>"; the answer cannot end in
  // it. May be the name of a special token.
  std::string_view after = "";
};

class StructuredOutput {
 public:
  static constexpr size_t kGrammarsMax = 16;

  // Errors: a vocabulary in which JSON cannot be spelled.
  static Result<std::unique_ptr<StructuredOutput>> open(const Tokenizer& tokenizer);

  // For one answer. Errors: the schema's, for the client.
  Result<std::shared_ptr<TokenMask>> mask(const AnswerForm& form);

  // The schema of any JSON object.
  static constexpr std::string_view kAnyObject = R"({"type": "object"})";

  size_t grammars() const;  // that are kept

 private:
  struct Kept {
    std::string form;
    std::shared_ptr<GrammarMasks> masks;
  };

  explicit StructuredOutput(std::shared_ptr<const TokenTrie> trie) : trie_(std::move(trie)) {}
  std::shared_ptr<GrammarMasks> find(std::string_view form);

  const std::shared_ptr<const TokenTrie> trie_;
  mutable std::mutex mutex_;  // of kept_
  std::list<Kept> kept_;      // asked for last: first
};

// Free text up to and including `literal` (not empty), then what `inner` allows. A little space may
// lie between the two and belongs to neither: behind the literal in its last token, and two tokens.
std::shared_ptr<TokenMask> mask_after(std::string literal, std::shared_ptr<TokenMask> inner,
                                      std::shared_ptr<const TokenTrie> trie);

}  // namespace hadal
