#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace hadal {

struct Scheduler::Sequence {
  SequenceId id = 0;
  std::vector<TokenId> tokens;  // prompt and answer so far
  uint32_t computed = 0;        // of them, from the first, have keys and values in `table`'s blocks
  uint32_t scheduled = 0;       // of those after, are in the step that is out
  uint32_t cached_tokens = 0;
  bool was_admitted = false;
  BlockTable table;

  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
  uint32_t pending() const { return size() - computed; }
};

namespace {

template <typename Sequences>
auto find_id(Sequences& sequences, SequenceId id) {
  return std::ranges::find_if(sequences, [id](const auto& sequence) { return sequence->id == id; });
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), allocator_(options.blocks, options.block_tokens) {
  CHECK(options.sequences_max > 0 && options.step_tokens_max >= options.sequences_max);
  CHECK(options.context_tokens > 1 && blocks_per_sequence_max() <= options.blocks);
  waiting_.reserve(size_t{options.waiting_max} + options.sequences_max);
  running_.reserve(options.sequences_max);
  tokens_.reserve(options.step_tokens_max);
  positions_.reserve(options.step_tokens_max);
  sequence_starts_.reserve(size_t{options.sequences_max} + 1);
  block_tables_.reserve(size_t{options.sequences_max} * blocks_per_sequence_max());
  logit_rows_.reserve(options.sequences_max);
  sequences_.reserve(options.sequences_max);
  samples_.reserve(options.sequences_max);
  clear_step();
}

Scheduler::~Scheduler() = default;

bool Scheduler::add(SequenceId id, std::vector<TokenId> prompt, uint32_t answer_max) {
  CHECK(!prompt.empty() && prompt.size() < options_.context_tokens);
  if (waiting_.size() >= options_.waiting_max) return false;
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->tokens = std::move(prompt);
  sequence->tokens.reserve(
      std::min<uint64_t>(options_.context_tokens, uint64_t{sequence->size()} + answer_max));
  sequence->table.blocks.reserve(
      allocator_.blocks_for(static_cast<uint32_t>(sequence->tokens.capacity())) + 1);
  waiting_.push_back(std::move(sequence));
  return true;
}

bool Scheduler::cancel(SequenceId id) {
  CHECK(!step_out_);
  for (Sequences* list : {&running_, &waiting_}) {
    const auto found = find_id(*list, id);
    if (found == list->end()) continue;
    allocator_.release((*found)->table);
    list->erase(found);
    return true;
  }
  return false;
}

Step Scheduler::next_step() {
  CHECK(!step_out_);
  const uint64_t preemptions_before = preemptions_;
  uint32_t tokens_left = options_.step_tokens_max;
  schedule_running(tokens_left);
  // Whoever was just sent back would only take back what others needed.
  if (preemptions_ == preemptions_before) admit_waiting(tokens_left);
  step_out_ = !sequences_.empty();
  Step step;
  step.batch.tokens = tokens_;
  step.batch.layout.positions = positions_;
  step.batch.layout.sequence_starts = sequence_starts_;
  step.batch.layout.block_tables = block_tables_;
  step.batch.layout.blocks_per_sequence_max = blocks_per_sequence_max();
  step.batch.logit_rows = logit_rows_;
  step.sequences = sequences_;
  step.samples = samples_;
  return step;
}

void Scheduler::commit(std::span<const Continuation> continuations) {
  CHECK(step_out_ && continuations.size() == samples_.size());
  size_t row = 0;
  for (auto& sequence : running_) {
    if (sequence->scheduled == 0) continue;
    sequence->computed += std::exchange(sequence->scheduled, 0);
    allocator_.publish(sequence->table, sequence->tokens, sequence->computed);
    if (sequence->pending() > 0) continue;
    const Continuation& next = continuations[row++];
    if (next.finished) {
      allocator_.release(sequence->table);
      sequence.reset();
      continue;
    }
    CHECK(!next.tokens.empty());
    CHECK(sequence->size() + next.tokens.size() <= options_.context_tokens);
    sequence->tokens.insert(sequence->tokens.end(), next.tokens.begin(), next.tokens.end());
  }
  CHECK(row == samples_.size());
  std::erase(running_, nullptr);
  clear_step();
}

void Scheduler::abort_step() {
  for (auto& sequence : running_) sequence->scheduled = 0;
  clear_step();
}

uint32_t Scheduler::cached_tokens(SequenceId id) const {
  const auto found = find_id(running_, id);
  return found == running_.end() ? 0 : (*found)->cached_tokens;
}

// Those that run, oldest first. Each that is answering gets its one token, whatever stands before
// it; the prompts share what is left.
void Scheduler::schedule_running(uint32_t& tokens_left) {
  uint32_t decoding = 0;
  for (const auto& sequence : running_) decoding += sequence->pending() == 1;
  uint32_t prompt_tokens_left = tokens_left - decoding;  // positive if there is a prompt to compute
  for (size_t i = 0; i < running_.size(); ++i) {  // running_ may lose its last ones meanwhile
    Sequence& sequence = *running_[i];
    const uint32_t pending = sequence.pending();
    const uint32_t count = pending == 1 ? 1 : std::min(pending, prompt_tokens_left);
    if (count == 0) continue;
    if (!make_room(i, sequence.computed + count)) break;
    if (pending > 1) prompt_tokens_left -= count;
    tokens_left -= count;
    schedule(sequence, count);
  }
}

void Scheduler::admit_waiting(uint32_t& tokens_left) {
  uint64_t promised = 0;  // blocks that those who run have not taken yet
  for (const auto& sequence : running_) promised += blocks_missing(*sequence);
  while (!waiting_.empty() && running_.size() < options_.sequences_max && tokens_left > 0) {
    Sequence& sequence = *waiting_.front();
    sequence.computed = allocator_.match_prefix(sequence.tokens, sequence.table);
    const uint64_t missing = blocks_missing(sequence);
    if (!running_.empty() && promised + missing > allocator_.available_blocks()) {
      allocator_.release(sequence.table);
      sequence.computed = 0;
      return;  // nobody overtakes
    }
    if (!sequence.was_admitted) sequence.cached_tokens = sequence.computed;
    sequence.was_admitted = true;
    const uint32_t count = std::min(sequence.pending(), tokens_left);
    CHECK(allocator_.grow(sequence.table, sequence.computed + count));
    promised += blocks_missing(sequence);
    tokens_left -= count;
    schedule(sequence, count);
    running_.push_back(std::move(waiting_.front()));
    waiting_.erase(waiting_.begin());
  }
}

// Blocks that a sequence lacks for the tokens it has and the next one.
uint32_t Scheduler::blocks_missing(const Sequence& sequence) const {
  const uint32_t wanted =
      allocator_.blocks_for(std::min(sequence.size() + 1, options_.context_tokens));
  return wanted - std::min(wanted, static_cast<uint32_t>(sequence.table.blocks.size()));
}

// Room for `tokens` tokens of running_[index], if need be at the cost of younger ones. False: it
// was the youngest and has been sent back itself.
bool Scheduler::make_room(size_t index, uint32_t tokens) {
  while (!allocator_.grow(running_[index]->table, tokens)) {
    preempt_youngest();
    if (index == running_.size()) return false;
  }
  return true;
}

void Scheduler::preempt_youngest() {
  CHECK(running_.size() > 1);  // a cache that holds one context never refuses the last
  Sequence& sequence = *running_.back();
  allocator_.release(sequence.table);
  sequence.computed = 0;
  ++preemptions_;
  waiting_.insert(waiting_.begin(), std::move(running_.back()));
  running_.pop_back();
}

void Scheduler::schedule(Sequence& sequence, uint32_t count) {
  sequence.scheduled = count;
  for (uint32_t i = 0; i < count; ++i) {
    tokens_.push_back(sequence.tokens[sequence.computed + i]);
    positions_.push_back(static_cast<int32_t>(sequence.computed + i));
  }
  sequence_starts_.push_back(static_cast<uint32_t>(tokens_.size()));
  sequences_.push_back(sequence.id);
  const auto& blocks = sequence.table.blocks;
  const size_t first = block_tables_.size();
  block_tables_.resize(first + blocks_per_sequence_max(), 0);
  std::copy(blocks.begin(), blocks.end(), block_tables_.begin() + static_cast<ptrdiff_t>(first));
  if (count == sequence.pending()) {
    logit_rows_.push_back(static_cast<uint32_t>(tokens_.size()) - 1);
    samples_.push_back(sequence.id);
  }
}

void Scheduler::clear_step() {
  step_out_ = false;
  tokens_.clear();
  positions_.clear();
  sequence_starts_.assign(1, 0);
  block_tables_.clear();
  logit_rows_.clear();
  sequences_.clear();
  samples_.clear();
}

}  // namespace hadal
