// Guesses at how an answer goes on, for speculative decoding: the model checks several of them in
// one step, which costs little more than one token where reading the weights is what takes the
// time. A wrong guess costs that little; it never changes the answer.
//
// One drafter a sequence; engine thread. A drafter may be a lookup, as here, or a model
// (engine/predictor): it is asked right before each step and told the whole history.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace hadal {

struct DraftRoom;

// How much a drafter's guesses have in common: those of one grade are right about equally often.
// The lowest are the least promising.
inline constexpr uint32_t kDraftGrades = 4;

struct Draft {
  uint32_t tokens = 0;  // that there may be
  uint32_t grade = 0;   // below kDraftGrades
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  // Writes what may follow `history` (prompt and answer so far; each call's continues the last
  // one's) from into[0] on; the first guess at least, if there is one. Allocates nothing.
  virtual Draft propose(std::span<const TokenId> history, std::span<TokenId> into) = 0;
  // So many of the guesses are wanted: writes those that propose() has left, because they cost
  // time. An error means that the device can be used no more.
  virtual Status complete(const DraftRoom&, std::span<TokenId>) { return {}; }
};

// Prompt lookup: looks for the latest earlier place where the last tokens stood too, four of them
// or else three or two, and proposes what followed there. Good where an answer repeats its prompt
// or itself: code that is edited, texts that are quoted, thoughts that come back. The grade is how
// many tokens before the place agree (2, 3, up to 7, more).
//
// A table a length remembers where each run of tokens was last seen, at a place its hash gives; a
// run that takes another's place makes that one forgotten, and what is found is compared, so a
// collision costs a guess and is never a wrong match. Constant time a token; at most
// kEntriesMost places a table, whatever the history.
class NgramDrafter : public Drafter {
 public:
  static constexpr uint32_t kShortest = 2, kLongest = 4;
  static constexpr uint32_t kEntriesMost = 1u << 16;

  explicit NgramDrafter(uint32_t tokens_max);  // that the history may come to
  Draft propose(std::span<const TokenId> history, std::span<TokenId> into) override;

 private:
  void learn(std::span<const TokenId> history);
  uint32_t* entry(uint32_t length, std::span<const TokenId> history, size_t end);

  uint32_t entries_;              // of each table; a power of two
  std::vector<uint32_t> tables_;  // [lengths, entries] the place behind a run; 0: none
  size_t learnt_ = 0;             // tokens of the history whose runs are in the tables
};

}  // namespace hadal
