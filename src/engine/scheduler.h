// Who gets what part of the next step. Sequences wait in the order they came, run together, and
// share a step's tokens: first one token for each that is answering, then prompt chunks, oldest
// first (chunked prefill mixed with decode: arXiv 2308.16369). No clock, no device, no I/O, no
// thread of its own: a test runs it a million steps; the same calls give the same steps.
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

struct SchedulerOptions {
  uint32_t step_tokens_max = 512;  // at least sequences_max
  uint32_t sequences_max = 1;      // that run at once; at least 1
  uint32_t waiting_max = 1024;     // beside those that run
  uint32_t context_tokens = 4096;  // a sequence's limit
  uint32_t blocks = 128;           // of the cache; at least enough for one context
  uint32_t block_tokens = kBlockTokens;
};

// Views into the scheduler, good until commit() or abort_step().
struct Step {
  Batch batch;
  std::span<const SequenceId> sequences;  // of the batch, in its order; oldest first
  std::span<const SequenceId> samples;    // [logit_rows]: whose next token a row's logits give
  bool empty() const { return sequences.empty(); }
};

// What became of a sequence whose logits a step gave.
struct Continuation {
  std::span<const TokenId> tokens;  // that follow: the sampled one, then forced ones
  bool finished = false;            // it is forgotten; `tokens` do not matter
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);
  ~Scheduler();

  // False: waiting_max sequences wait already. prompt: 1 to context_tokens - 1 tokens; answer_max:
  // the most that commit() will add. Ids are the caller's, each used once.
  bool add(SequenceId id, std::vector<TokenId> prompt, uint32_t answer_max);
  // Forgets a sequence; not while a step is out. False: no such sequence.
  bool cancel(SequenceId id);

  // What to compute now. Empty: nobody is there. Every step is answered by commit() or
  // abort_step() before the next.
  Step next_step();
  // The step was computed. One continuation a logit row, in order; a sequence that goes on has at
  // least one token in it, and stays within its context.
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
  void preempt_youngest();
  void schedule_running(uint32_t& tokens_left);
  void admit_waiting(uint32_t& tokens_left);
  void schedule(Sequence& sequence, uint32_t count);
  void clear_step();

  SchedulerOptions options_;
  BlockAllocator allocator_;
  Sequences waiting_, running_;  // each oldest first; all that run are older than all that wait
  uint64_t preemptions_ = 0;
  bool step_out_ = false;

  // The step that is out.
  std::vector<int32_t> tokens_, positions_;
  std::vector<uint32_t> sequence_starts_, block_tables_, logit_rows_;
  std::vector<SequenceId> sequences_, samples_;
};

}  // namespace hadal
