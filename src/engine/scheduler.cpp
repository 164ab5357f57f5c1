#include "engine/scheduler.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace hadal {

struct Scheduler::Sequence {
  SequenceId id = 0;
  std::vector<TokenId> tokens;  // prompt and answer so far
  uint32_t tokens_max = 0;      // that it may come to
  uint32_t computed = 0;        // of them, from the first, have keys and values in `table`'s blocks
  uint32_t scheduled = 0;       // of those after, are in the step that is out
  std::array<TokenId, kDraftTokensMax> drafts;
  uint32_t drafted = 0;  // of drafts, are in the step that is out
  uint32_t cached_tokens = 0;
  uint64_t key = 0, turn = 0, arrival = 0;
  bool wants_hidden = false;
  bool was_admitted = false;
  // Logits are wanted of the tokens before row_end; those before rows_given have been in a step
  // that was computed.
  uint32_t row_end = 0, rows_given = 0;
  BlockTable table;

  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
  uint32_t pending() const { return size() - computed; }
  bool computes_all() const { return wants_hidden || rows_given < row_end; }
  uint32_t first_row() const { return std::max(computed, rows_given); }
  // Rows of the prompt that a step with so many tokens has.
  uint32_t prompt_rows(uint32_t count) const {
    const uint32_t end = std::min(computed + count, row_end);
    return end - std::min(end, first_row());
  }
  // Rows of any kind beside the one that every sequence has. Of what is to be computed, tokens
  // without a row come first: so each token behind one that needs such a row needs one, too.
  uint32_t rows_beside(uint32_t count) const {
    const uint32_t rows = prompt_rows(count) + (count > 0 && count == pending());
    return rows - std::min(rows, 1u);
  }
  // Tokens beside those that are scheduled, of at most `count`, that `rows` such rows are enough
  // for.
  uint32_t fitting(uint32_t count, uint32_t rows) const {
    const uint32_t wanted = rows_beside(scheduled + count) - rows_beside(scheduled);
    return count - (wanted - std::min(wanted, rows));
  }
};

namespace {

SchedulerOptions with_rows_for_all(SchedulerOptions options) {
  if (options.logit_rows_max == 0) options.logit_rows_max = options.sequences_max;
  return options;
}

template <typename Sequences>
auto find_id(Sequences& sequences, SequenceId id) {
  return std::ranges::find_if(sequences, [id](const auto& sequence) { return sequence->id == id; });
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(with_rows_for_all(options)), allocator_(options.blocks, options.block_tokens) {
  CHECK(options.sequences_max > 0 && options.step_tokens_max >= options.sequences_max);
  CHECK(options.context_tokens > 1 && blocks_per_sequence_max() <= options.blocks);
  CHECK(options_.logit_rows_max >= options.sequences_max);
  waiting_.reserve(size_t{options.waiting_max} + options.sequences_max);
  running_.reserve(options.sequences_max);
  tokens_.reserve(options.step_tokens_max);
  positions_.reserve(options.step_tokens_max);
  sequence_starts_.reserve(size_t{options.sequences_max} + 1);
  block_tables_.reserve(size_t{options.sequences_max} * blocks_per_sequence_max());
  logit_rows_.reserve(options_.logit_rows_max);
  sample_rows_.reserve(options.sequences_max);
  prompt_rows_.reserve(options.sequences_max);
  sequences_.reserve(options.sequences_max);
  begun_.reserve(options.sequences_max);
  samples_.reserve(options.sequences_max);
  followers_.reserve(options.sequences_max);
  shares_.reserve(size_t{options.waiting_max} + 2 * size_t{options.sequences_max});
  clear_step();
}

Scheduler::~Scheduler() = default;

bool Scheduler::add(SequenceId id, std::vector<TokenId> prompt, const SequenceOptions& options) {
  CHECK(!prompt.empty() && prompt.size() < options_.context_tokens);
  if (waiting_.size() >= options_.waiting_max) return false;
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->tokens = std::move(prompt);
  sequence->tokens_max = static_cast<uint32_t>(
      std::min<uint64_t>(options_.context_tokens, uint64_t{sequence->size()} + options.answer_max));
  sequence->tokens.reserve(sequence->tokens_max);
  sequence->table.blocks.reserve(allocator_.blocks_for(sequence->tokens_max) + 1);
  sequence->table.salt = options.cache_salt;
  sequence->key = options.fairness_key;
  sequence->wants_hidden = options.wants_hidden;
  if (options.wants_prompt_logits) sequence->row_end = sequence->size() - 1;
  sequence->turn = next_turn(options.fairness_key);
  sequence->arrival = arrivals_++;
  const auto place = std::ranges::partition_point(waiting_, [&](const auto& other) {
    return other->was_admitted || other->turn <= sequence->turn;
  });
  waiting_.insert(place, std::move(sequence));
  return true;
}

uint64_t Scheduler::next_turn(uint64_t key) const {
  uint64_t last = turn_;
  for (const auto& other : waiting_) {
    if (other->key == key) last = std::max(last, other->turn);
  }
  return last + 1;
}

// Those who were passed over go on in the turn that it is now; their later ones move up with them.
// True: the order has changed.
bool Scheduler::take_turn(const Sequence& sequence) {
  if (sequence.turn <= turn_) return false;
  turn_ = sequence.turn;
  for (Share& share : shares_) share.last_turn = turn_ - 1;
  bool moved = false;
  for (const auto& other : waiting_) {
    if (other->was_admitted) continue;
    uint64_t& last = share_of(other->key)->last_turn;
    moved = moved || other->turn <= last;
    last = other->turn = std::max(other->turn, last + 1);
  }
  if (moved) order_turns();
  return moved;
}

// Each of the same key that waits behind it takes the turn of the one before.
void Scheduler::close_gap(const Sequence& cancelled) {
  uint64_t free_turn = cancelled.turn;
  for (const auto& other : waiting_) {
    if (other->was_admitted || other->key != cancelled.key || other->turn < free_turn) continue;
    std::swap(other->turn, free_turn);
  }
  order_turns();
}

void Scheduler::order_turns() {
  const auto first =
      std::ranges::find_if(waiting_, [](const auto& sequence) { return !sequence->was_admitted; });
  std::sort(first, waiting_.end(), [](const auto& a, const auto& b) {
    return std::pair(a->turn, a->arrival) < std::pair(b->turn, b->arrival);
  });
}

bool Scheduler::cancel(SequenceId id) {
  CHECK(!step_out_);
  for (Sequences* list : {&running_, &waiting_}) {
    const auto found = find_id(*list, id);
    if (found == list->end()) continue;
    const std::unique_ptr<Sequence> cancelled = std::move(*found);
    allocator_.release(cancelled->table);
    list->erase(found);
    if (!cancelled->was_admitted) close_gap(*cancelled);
    return true;
  }
  return false;
}

Step Scheduler::next_step(DraftSource* drafts, const StepBounds& bounds) {
  CHECK(!step_out_);
  const uint64_t preemptions_before = preemptions_;
  Budget budget = budget_for(bounds);
  share_out(budget);
  schedule_running(budget);
  // Whoever was just sent back would only take back what others needed.
  const bool admits = preemptions_ == preemptions_before;
  if (admits) admit_waiting(budget, Sharing::kEven);
  schedule_rest(budget);
  if (admits) admit_waiting(budget, Sharing::kNone);
  if (drafts != nullptr) schedule_drafts(*drafts, budget.tokens);
  Step step;
  for (const auto& sequence : running_) {
    if (sequence->scheduled == 0) continue;
    const bool answers = sequence->scheduled == 1 && sequence->pending() == 1;
    step.answering += answers;
    step.prompt_tokens += answers ? 0 : sequence->scheduled;
    step.wants_hidden = step.wants_hidden || sequence->wants_hidden;
    lay_out(*sequence);
  }
  step_out_ = !sequences_.empty();
  step.batch.tokens = tokens_;
  step.batch.layout.positions = positions_;
  step.batch.layout.sequence_starts = sequence_starts_;
  step.batch.layout.block_tables = block_tables_;
  step.batch.layout.blocks_per_sequence_max = blocks_per_sequence_max();
  step.batch.logit_rows = logit_rows_;
  step.sequences = sequences_;
  step.begun = begun_;
  step.followers = followers_;
  step.samples = samples_;
  step.sample_rows = sample_rows_;
  step.prompt_rows = prompt_rows_;
  return step;
}

void Scheduler::commit(std::span<const Continuation> continuations) {
  CHECK(step_out_ && continuations.size() == samples_.size());
  size_t sample = 0;
  for (auto& sequence : running_) {
    if (sequence->scheduled == 0) continue;
    sequence->computed += std::exchange(sequence->scheduled, 0);
    sequence->rows_given =
        std::max(sequence->rows_given, std::min(sequence->computed, sequence->row_end));
    const bool sampled = sequence->pending() == 0;
    bool finished = false;
    if (sampled) {
      const Continuation& next = continuations[sample++];
      finished = next.finished;
      sequence->computed += accept(*sequence, next);
    }
    allocator_.publish(sequence->table, sequence->tokens, sequence->computed);
    if (finished) {
      allocator_.release(sequence->table);
      sequence.reset();
    } else if (std::exchange(sequence->drafted, 0) > 0) {
      allocator_.shrink(sequence->table, sequence->size());
    }
  }
  CHECK(sample == samples_.size());
  std::erase(running_, nullptr);
  clear_step();
}

// Takes over what follows, and says how many of its tokens the step has computed as drafts.
uint32_t Scheduler::accept(Sequence& sequence, const Continuation& next) {
  CHECK(next.finished || !next.tokens.empty());
  CHECK(sequence.size() + next.tokens.size() <= options_.context_tokens);
  sequence.tokens.insert(sequence.tokens.end(), next.tokens.begin(), next.tokens.end());
  return accepted_drafts(std::span(sequence.drafts).first(sequence.drafted), next);
}

uint32_t accepted_drafts(std::span<const TokenId> drafts, const Continuation& next) {
  const auto kept = next.finished ? next.tokens : next.tokens.first(next.tokens.size() - 1);
  return static_cast<uint32_t>(std::ranges::mismatch(drafts, kept).in1 - drafts.begin());
}

void Scheduler::abort_step() {
  for (auto& sequence : running_) {
    sequence->scheduled = 0;
    if (std::exchange(sequence->drafted, 0) > 0) {
      allocator_.shrink(sequence->table, sequence->size());
    }
  }
  clear_step();
}

uint32_t Scheduler::cached_tokens(SequenceId id) const {
  const auto found = find_id(running_, id);
  return found == running_.end() ? 0 : (*found)->cached_tokens;
}

// Each that is answering gets its one token, whatever stands before it; what is left is the
// prompts': something, if there is one, for so many sequences do not fill a step.
Scheduler::Budget Scheduler::budget_for(const StepBounds& bounds) const {
  uint32_t answering = 0;
  for (const auto& sequence : running_) answering += sequence->pending() == 1;
  Budget budget = {
      .tokens = options_.step_tokens_max,
      .prompt = options_.step_tokens_max - answering,
      .sequences = std::min(options_.sequences_max, std::max(1u, bounds.sequences_max))};
  if (answering > 0)
    budget.prompt = std::min(budget.prompt, std::max(1u, bounds.prompt_tokens_max));
  const auto here = static_cast<uint32_t>(running_.size());
  const auto with_waiting =
      static_cast<uint32_t>(std::min<size_t>(running_.size() + waiting_.size(), budget.sequences));
  budget.rows = options_.logit_rows_max - std::max(here, with_waiting);
  return budget;
}

// Who has prompts to compute, now or as soon as there is a place.
void Scheduler::share_out(const Budget& budget) {
  shares_.clear();
  for (const auto& sequence : running_) {
    if (sequence->pending() > 1) shares_.push_back({.key = sequence->key});
  }
  if (running_.size() < budget.sequences) {
    for (const auto& sequence : waiting_) shares_.push_back({.key = sequence->key});
  }
  std::ranges::sort(shares_, {}, &Share::key);
  const auto twice = std::ranges::unique(shares_, {}, &Share::key);
  shares_.erase(twice.begin(), twice.end());
  if (shares_.empty()) return;
  const uint32_t even = std::max(1u, budget.prompt / static_cast<uint32_t>(shares_.size()));
  for (Share& share : shares_) share.left = even;
}

Scheduler::Share* Scheduler::share_of(uint64_t key) {
  const auto found = std::ranges::lower_bound(shares_, key, {}, &Share::key);
  CHECK(found != shares_.end() && found->key == key);
  return &*found;
}

// So many more of its tokens, for which there is room.
void Scheduler::schedule(Sequence& sequence, uint32_t tokens, Budget& budget) {
  budget.tokens -= tokens;
  const uint32_t rows_before = sequence.rows_beside(sequence.scheduled);
  sequence.scheduled += tokens;
  budget.rows -= sequence.rows_beside(sequence.scheduled) - rows_before;
}

// Those that run, oldest first: the answers' tokens, and of the prompts each key's share.
void Scheduler::schedule_running(Budget& budget) {
  for (size_t i = 0; i < running_.size(); ++i) {  // running_ may lose its last ones meanwhile
    Sequence& sequence = *running_[i];
    const uint32_t pending = sequence.pending();
    uint32_t* share = pending > 1 ? &share_of(sequence.key)->left : nullptr;
    const uint32_t wanted = share ? std::min({pending, budget.prompt, *share}) : 1;
    const uint32_t count = sequence.fitting(wanted, budget.rows);
    if (count == 0) continue;
    if (!make_room(i, sequence.computed + count)) break;
    if (share != nullptr) {
      *share -= count;
      budget.prompt -= count;
    }
    schedule(sequence, count, budget);
  }
}

// Prompt tokens that nobody else's share wants, oldest first; for them nobody is sent back.
void Scheduler::schedule_rest(Budget& budget) {
  for (const auto& sequence : running_) {
    if (budget.prompt == 0) return;
    const uint32_t rest = sequence->pending() - sequence->scheduled;
    const uint32_t count = sequence->fitting(std::min(rest, budget.prompt), budget.rows);
    if (count == 0) continue;
    if (!allocator_.grow(sequence->table, sequence->computed + sequence->scheduled + count)) return;
    budget.prompt -= count;
    schedule(*sequence, count, budget);
  }
}

void Scheduler::admit_waiting(Budget& budget, Sharing sharing) {
  uint64_t promised = 0;  // blocks that those who run have not taken yet
  for (const auto& sequence : running_) promised += blocks_missing(*sequence);
  for (size_t i = 0; i < waiting_.size();) {
    if (running_.size() >= budget.sequences || budget.prompt == 0) return;
    Sequence& sequence = *waiting_[i];
    // Who was sent back goes before everybody, so that those who run are the oldest.
    const bool shares = sharing == Sharing::kEven && !sequence.was_admitted;
    uint32_t* share = shares ? &share_of(sequence.key)->left : &budget.prompt;
    if (*share == 0) {  // others have their own
      ++i;
      continue;
    }
    if (!sequence.computes_all()) {
      sequence.computed = allocator_.match_prefix(sequence.tokens, sequence.table);
    }
    const uint64_t missing = blocks_missing(sequence);
    if (!running_.empty() && promised + missing > allocator_.available_blocks()) {
      allocator_.release(sequence.table);
      sequence.computed = 0;
      return;  // nobody overtakes
    }
    const uint32_t wanted = std::min({sequence.pending(), budget.prompt, *share});
    const uint32_t count = sequence.fitting(wanted, budget.rows);
    CHECK(allocator_.grow(sequence.table, sequence.computed + count));
    promised += blocks_missing(sequence);
    if (shares) *share -= count;
    budget.prompt -= count;
    schedule(sequence, count, budget);
    running_.push_back(std::move(waiting_[i]));
    waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(i));
    if (std::exchange(sequence.was_admitted, true)) continue;
    sequence.cached_tokens = sequence.computed;
    begun_.push_back(sequence.id);
    if (take_turn(sequence)) i = 0;
  }
}

// What is left of the step, oldest first, for guesses at the answers: never more than could be
// right before the answer's limit, which the token behind the last guess must respect too.
void Scheduler::schedule_drafts(DraftSource& source, uint32_t tokens_left) {
  DraftRoom room;
  room.step_tokens = options_.step_tokens_max - tokens_left;
  uint32_t rows_left = options_.logit_rows_max;
  for (const auto& sequence : running_) {
    if (sequence->scheduled == 0) continue;
    const bool sampled = sequence->scheduled == sequence->pending();
    room.step_samples += sampled;
    rows_left -= sequence->prompt_rows(sequence->scheduled) + sampled;
  }
  for (const auto& sequence : running_) {
    if (sequence->scheduled != 1 || sequence->pending() != 1) continue;
    const uint32_t size = sequence->size();
    if (size + 1 >= sequence->tokens_max) continue;
    const uint64_t blocks = sequence->table.blocks.size() + allocator_.available_blocks();
    const uint64_t places = blocks * options_.block_tokens - size;
    if (tokens_left == 0 || rows_left == 0) return;
    const auto most = static_cast<uint32_t>(std::min<uint64_t>(
        std::min({kDraftTokensMax, tokens_left, rows_left, sequence->tokens_max - size - 1}),
        places));
    if (most == 0) continue;
    CHECK(allocator_.grow(sequence->table, size + most));
    room.id = sequence->id;
    room.history = sequence->tokens;
    room.blocks = sequence->table.blocks;
    const uint32_t count = source.propose(room, std::span(sequence->drafts).first(most));
    CHECK(count <= most);
    if (count < most) allocator_.shrink(sequence->table, size + count);
    sequence->drafted = count;
    room.step_tokens += count;
    tokens_left -= count;
    rows_left -= count;
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

void Scheduler::lay_out(const Sequence& sequence) {
  const auto begin = sequence.tokens.begin() + sequence.computed;
  tokens_.insert(tokens_.end(), begin, begin + sequence.scheduled);
  tokens_.insert(tokens_.end(), sequence.drafts.begin(),
                 sequence.drafts.begin() + sequence.drafted);
  const uint32_t count = sequence.scheduled + sequence.drafted;
  for (uint32_t i = 0; i < count; ++i) {
    positions_.push_back(static_cast<int32_t>(sequence.computed + i));
  }
  sequence_starts_.push_back(static_cast<uint32_t>(tokens_.size()));
  sequences_.push_back(sequence.id);
  const uint32_t next = sequence.computed + sequence.scheduled;
  followers_.push_back(next < sequence.size() ? sequence.tokens[next] : kNoFollower);
  const auto& blocks = sequence.table.blocks;
  const size_t first = block_tables_.size();
  block_tables_.resize(first + blocks_per_sequence_max(), 0);
  std::copy(blocks.begin(), blocks.end(), block_tables_.begin() + static_cast<ptrdiff_t>(first));
  const uint32_t first_token = sequence_starts_.back() - count;
  const auto first_row = static_cast<uint32_t>(logit_rows_.size());
  const uint32_t prompt_rows = sequence.prompt_rows(sequence.scheduled);
  for (uint32_t i = 0; i < prompt_rows; ++i) {
    logit_rows_.push_back(first_token + sequence.first_row() - sequence.computed + i);
  }
  prompt_rows_.push_back({first_row, prompt_rows});
  if (sequence.scheduled < sequence.pending()) return;
  for (uint32_t i = 0; i <= sequence.drafted; ++i) {
    logit_rows_.push_back(sequence_starts_.back() - 1 - sequence.drafted + i);
  }
  sample_rows_.push_back({first_row + prompt_rows, 1 + sequence.drafted});
  samples_.push_back(sequence.id);
}

void Scheduler::clear_step() {
  step_out_ = false;
  tokens_.clear();
  positions_.clear();
  sequence_starts_.assign(1, 0);
  block_tables_.clear();
  logit_rows_.clear();
  sample_rows_.clear();
  prompt_rows_.clear();
  sequences_.clear();
  begun_.clear();
  followers_.clear();
  samples_.clear();
}

}  // namespace hadal
