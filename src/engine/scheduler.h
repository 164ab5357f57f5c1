// Who gets what part of the next step. Sequences wait their turn, run together, and share a step's
// tokens: first one token for each that is answering, then prompt chunks, oldest first (chunked
// prefill mixed with decode: arXiv 2308.16369), last drafts. No clock, no device, no I/O, no thread
// of its own: a test runs it a million steps; the same calls give the same steps.
//
// Turns: sequences have a fairness key, whose they are. Those of one key are admitted in the order
// they came; each takes its key's next turn (the number behind its last one that waits, or behind
// the one that was admitted last), and the lowest turn is admitted first, of equal ones who came
// first. So keys go round robin, whoever floods the queue waits behind his own, and a newcomer is
// begun after two sequences of each other key at most.
//
// A step's prompt tokens are shared out evenly among the keys that have prompts to compute, oldest
// first within each; what is left goes to the oldest. So a long prompt holds up nobody else's short
// one: whose share is used up by a prompt in work is passed over, and his missed turns are no
// credit. Older means, here and below: admitted earlier.
//
// Drafts: guesses of what follows an answer's last token, computed in the same step as that token,
// with logits for each (speculative decoding: arXiv 2211.17192). commit() is told what really
// followed and counts those as computed that were guessed right; the others' places in the cache
// are written again. Drafts take only what nobody else wants of a step's tokens and rows and of the
// free blocks, keep no block beyond their step, and send nobody back.
//
// Rows: a step gives logits for as many tokens as options say. Each sequence in it has one row for
// sure. Sequences that want logits of all their prompt's tokens share what the places of the others
// leave: their chunks are as long as there are rows, oldest first, and never shorter than a token.
//
// Memory: a sequence is admitted when the blocks for its prompt and one more token are there beside
// what those that run will need for theirs. Answers grow, so blocks can run out later; then the
// youngest sequence gives its blocks back and waits at the head of the queue, to be computed again
// (what of its past is still cached is not). The oldest is never sent back and the cache holds at
// least one whole context, so every sequence gets to its end.
//
// Allocates nothing between add() calls.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/block_allocator.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace hadal {

using SequenceId = uint64_t;

inline constexpr uint32_t kDraftTokensMax = 8;  // of one sequence in one step

struct SchedulerOptions {
  uint32_t step_tokens_max = 512;  // at least sequences_max
  uint32_t sequences_max = 1;      // that run at once; at least 1
  uint32_t waiting_max = 1024;     // beside those that run
  uint32_t context_tokens = 4096;  // a sequence's limit
  uint32_t blocks = 128;           // of the cache; at least enough for one context
  uint32_t block_tokens = kBlockTokens;
  // Of a step; at least sequences_max, 0: that. More serve drafts and the logits of prompts.
  uint32_t logit_rows_max = 0;
};

struct SequenceOptions {
  uint32_t answer_max = 0;    // the most that commit() will add
  uint64_t cache_salt = 0;    // prefixes are shared among sequences of one salt
  uint64_t fairness_key = 0;  // whose it is
  // Of every token: so all are computed, and no prefix is taken from the cache.
  bool wants_hidden = false;
  // Logits of every token of the prompt but the last, once each; the last's are those that the
  // answer begins with. Until it has had them it takes no prefix from the cache either.
  bool wants_prompt_logits = false;
};

// What a step may hold beside what the options say (engine/latency_pace).
struct StepBounds {
  uint32_t prompt_tokens_max = UINT32_MAX;  // while anybody is answering; at least 1
  uint32_t sequences_max = UINT32_MAX;      // nobody is admitted beyond this; at least 1
};

inline constexpr TokenId kNoFollower = -1;

struct RowRange {  // of Batch::logit_rows
  uint32_t first = 0, count = 0;
};

// Views into the scheduler, good until commit() or abort_step().
struct Step {
  Batch batch;
  std::span<const SequenceId> sequences;  // of the batch, in its order; oldest first
  std::span<const SequenceId> begun;      // of them, those in their first step
  // [sequences]: of whose prompt there is more to come, its next token; of others kNoFollower.
  std::span<const TokenId> followers;
  std::span<const SequenceId> samples;  // whose next token logits are there for, in that order
  // [samples]: their rows. The first row's token is the last that the sequence has; those of
  // further rows are its drafts.
  std::span<const RowRange> sample_rows;
  // [sequences]: of tokens of its prompt, in their order; where none are wanted, none.
  std::span<const RowRange> prompt_rows;
  uint32_t answering = 0;      // sequences that have one token in it, beside drafts
  uint32_t prompt_tokens = 0;  // that the others have
  bool wants_hidden = false;   // somebody in it does
  bool empty() const { return sequences.empty(); }
};

// A sequence that is answering and may have drafts in the step that is being put together.
struct DraftRoom {
  SequenceId id = 0;
  std::span<const TokenId> history;  // prompt and answer so far
  std::span<const uint32_t> blocks;  // of the cache, for the history and as many drafts as fit
  uint32_t step_tokens = 0;          // that the step has without this sequence's drafts
  uint32_t step_samples = 0;         // sequences whose next token the step gives, this one included
};

class DraftSource {
 public:
  virtual ~DraftSource() = default;
  // Writes guesses of what follows the history from into[0] on (1 to kDraftTokensMax places) and
  // says how many. Called inside next_step(), oldest sequence first; must not call the scheduler.
  virtual uint32_t propose(const DraftRoom& room, std::span<TokenId> into) = 0;
};

// What became of a sequence whose logits a step gave.
struct Continuation {
  // That follow: accepted drafts, the sampled token, forced ones.
  std::span<const TokenId> tokens;
  // It is forgotten; `tokens` say only which drafts are worth keeping for later prompts.
  bool finished = false;
};

// How many of the drafts are what follows, and so have been computed. The last token of a sequence
// that goes on stays to be computed: it is its logits that are wanted.
uint32_t accepted_drafts(std::span<const TokenId> drafts, const Continuation& next);

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);
  ~Scheduler();

  // False: waiting_max sequences wait already. prompt: 1 to context_tokens - 1 tokens. Ids are the
  // caller's, each used once.
  bool add(SequenceId id, std::vector<TokenId> prompt, const SequenceOptions& options);
  // Forgets a sequence; not while a step is out. False: no such sequence.
  bool cancel(SequenceId id);

  // What to compute now. Empty: nobody is there. Every step is answered by commit() or
  // abort_step() before the next. drafts: null for none.
  Step next_step(DraftSource* drafts = nullptr, const StepBounds& bounds = {});
  // The step was computed. One continuation for each of `samples`, in order; a sequence that goes
  // on has at least one token in it, and stays within its context and what add() was told.
  void commit(std::span<const Continuation> continuations);
  // The step was not computed: nothing of it counts.
  void abort_step();

  bool idle() const { return running_.empty() && waiting_.empty(); }
  uint32_t running() const { return static_cast<uint32_t>(running_.size()); }
  uint32_t waiting() const { return static_cast<uint32_t>(waiting_.size()); }
  uint64_t preemptions() const { return preemptions_; }
  // Tokens of the prompt that a running sequence found in the cache when it was first admitted.
  uint32_t cached_tokens(SequenceId id) const;

  // For whoever needs blocks while no sequence is there (Engine::score), and for tests.
  BlockAllocator& allocator() { return allocator_; }
  const SchedulerOptions& options() const { return options_; }
  uint32_t blocks_per_sequence_max() const {
    return allocator_.blocks_for(options_.context_tokens);
  }

 private:
  struct Sequence;
  using Sequences = std::vector<std::unique_ptr<Sequence>>;

  uint32_t blocks_missing(const Sequence& sequence) const;
  bool make_room(size_t index, uint32_t tokens);
  uint64_t next_turn(uint64_t key) const;
  bool take_turn(const Sequence& sequence);
  void close_gap(const Sequence& cancelled);
  void order_turns();
  void preempt_youngest();
  // Of the step that is being put together.
  struct Budget {
    uint32_t tokens = 0;     // left of all
    uint32_t prompt = 0;     // left for prompts
    uint32_t sequences = 0;  // that may run
    uint32_t rows = 0;       // of logits, left beside one for each sequence
  };
  struct Share {
    uint64_t key = 0;
    uint32_t left = 0;       // of a budget's prompt tokens
    uint64_t last_turn = 0;  // of those that wait
  };
  enum class Sharing : uint8_t { kEven, kNone };

  Budget budget_for(const StepBounds& bounds) const;
  void share_out(const Budget& budget);
  Share* share_of(uint64_t key);
  void schedule(Sequence& sequence, uint32_t tokens, Budget& budget);
  void schedule_running(Budget& budget);
  void schedule_rest(Budget& budget);
  void admit_waiting(Budget& budget, Sharing sharing);
  void schedule_drafts(DraftSource& source, uint32_t tokens_left);
  void lay_out(const Sequence& sequence);
  uint32_t accept(Sequence& sequence, const Continuation& next);
  void clear_step();

  SchedulerOptions options_;
  BlockAllocator allocator_;
  Sequences running_;  // oldest first
  Sequences
      waiting_;  // first those sent back, oldest first; then by their turns, then as they came
  uint64_t turn_ = 0;  // of the one that was admitted last: nobody new waits with a lower one
  uint64_t arrivals_ = 0;
  uint64_t preemptions_ = 0;
  bool step_out_ = false;

  // The step that is out.
  std::vector<int32_t> tokens_, positions_;
  std::vector<uint32_t> sequence_starts_, block_tables_, logit_rows_;
  std::vector<RowRange> sample_rows_, prompt_rows_;
  std::vector<SequenceId> sequences_, begun_, samples_;
  std::vector<TokenId> followers_;
  std::vector<Share> shares_;  // by key
};

}  // namespace hadal
