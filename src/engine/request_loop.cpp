#include "engine/request_loop.h"

#include <algorithm>
#include <new>

#include "base/check.h"
#include "engine/active_request.h"

namespace hadal {

namespace {

// A guess of the predictor costs a head's time, wanted or not. Where so few of the last ones were
// worth trying, only every kGuessRetrySteps-th step makes one.
constexpr double kGuessesUsedLeast = 0.1, kGuessesUsedKept = 0.9;
constexpr uint32_t kGuessRetrySteps = 64;

constexpr std::string_view kClosed = "the engine was closed";

bool is_always(Speculation speculation) {
  return speculation == Speculation::kNgramAlways || speculation == Speculation::kMtpAlways;
}

tl::unexpected<Refusal> refuse(Refusal refusal) {
  return tl::unexpected<Refusal>(std::move(refusal));
}

SchedulerOptions with_room_for_all(SchedulerOptions options) {
  options.waiting_max += options.sequences_max;  // arrivals are counted here, before they run
  return options;
}

}  // namespace

RequestLoop::RequestLoop(const RequestLoopOptions& options, StepRunner& runner,
                         std::function<double()> now, DraftRunner* draft_runner)
    : vocabulary_(options.vocabulary),
      hidden_width_(options.hidden_width),
      runner_(runner),
      now_(std::move(now)),
      speculation_(options.speculation),
      scheduler_(with_room_for_all(options.scheduler)) {
  CHECK(is_mtp(speculation_) == (draft_runner != nullptr));
  const SchedulerOptions& scheduler = scheduler_.options();
  if (draft_runner != nullptr) predictor_.emplace(*draft_runner, vocabulary_, scheduler);
  if (options.step_seconds_target > 0) {
    pace_.emplace(options.step_seconds_target,
                  StepBounds{.prompt_tokens_max = scheduler.step_tokens_max,
                             .sequences_max = scheduler.sequences_max});
  }
  continuations_.reserve(scheduler.sequences_max);
  const size_t requests = scheduler.waiting_max;
  ids_.reserve(requests);
  cancelled_ids_.reserve(requests);
  arrived_.reserve(requests);
  requests_.reserve(requests);
  broken_.reserve(kClosed.size());  // the destructor allocates nothing
  publish_status();
}

RequestLoop::~RequestLoop() {
  close(kClosed, FinishReason::kCancelled);
}

tl::expected<RequestId, Refusal> RequestLoop::submit(Request request) {
  CHECK(request.sink != nullptr);
  try {
    if (auto refusal = refusal_of(request)) return refuse(std::move(*refusal));
    const double time = now_();
    std::lock_guard lock(mutex_);
    if (!broken_.empty()) return refuse({{broken_}, RefusalKind::kClosed});
    if (requests_.size() >= scheduler_.options().waiting_max) {
      return refuse({{fmt::format("{} requests are here already, as many as may wait and run",
                                  requests_.size())},
                     RefusalKind::kQueueFull});
    }
    const RequestId id = next_id_++;
    const ActiveRequest::Terms terms = {.id = id,
                                        .vocabulary = vocabulary_,
                                        .context_tokens = scheduler_.options().context_tokens,
                                        .hidden_width = hidden_width_,
                                        .speculation = speculation_,
                                        .predictor = predictor_ ? &*predictor_ : nullptr,
                                        .now = time};
    requests_.emplace(id, std::make_unique<ActiveRequest>(std::move(request), terms));
    arrived_.push_back(id);
    ++status_.requests_accepted;
    return id;
  } catch (const std::bad_alloc&) {
    return refuse({{"there is not enough memory for another request"}, RefusalKind::kNoMemory});
  }
}

std::optional<Refusal> RequestLoop::refusal_of(const Request& request) const {
  const auto invalid = [](std::string message) {
    return Refusal{{std::move(message)}, RefusalKind::kInvalid};
  };
  if (Status good = request.sampling.validate(); !good) return invalid(good.error().message);
  if (Status good = Sampler::check_bias(request.logit_bias, vocabulary_); !good) {
    return invalid(good.error().message);
  }
  if (request.top_log_probabilities > Request::kTopLogProbabilitiesMost) {
    return invalid(fmt::format("{} log probabilities a token are too many: at most {}",
                               *request.top_log_probabilities,
                               uint32_t{Request::kTopLogProbabilitiesMost}));
  }
  if (request.prompt_log_probabilities && !request.top_log_probabilities) {
    return invalid("log probabilities of the prompt alone cannot be asked for");
  }
  if (request.embedding && hidden_width_ == 0) {
    return invalid("embeddings were not asked for when the model was opened");
  }
  if (request.prompt.empty()) return invalid("the prompt is empty");
  for (const TokenId token : request.prompt) {
    if (token < 0 || static_cast<uint32_t>(token) >= vocabulary_) {
      return invalid(
          fmt::format("the prompt has a token {}, but the model's vocabulary has {} tokens", token,
                      vocabulary_));
    }
  }
  const uint32_t context = scheduler_.options().context_tokens;
  if (request.prompt.size() < context) return std::nullopt;
  return Refusal{{fmt::format("the prompt has {} tokens, but the context holds {} and an answer "
                              "needs at least one of them: shorten the prompt, or ask for a larger "
                              "context",
                              request.prompt.size(), context)},
                 RefusalKind::kPromptTooLong};
}

void RequestLoop::cancel(RequestId id) {
  std::lock_guard lock(mutex_);
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  found->second->cancelled = true;
  cancel_asked_ = true;
}

bool RequestLoop::idle() {
  std::lock_guard lock(mutex_);
  return requests_.empty();
}

EngineStatus RequestLoop::status() const {
  std::lock_guard lock(mutex_);
  EngineStatus status = status_;
  status.waiting = static_cast<uint32_t>(requests_.size()) -
                   std::min(status.running, static_cast<uint32_t>(requests_.size()));
  return status;
}

Result<bool> RequestLoop::step() {
  {
    std::lock_guard lock(mutex_);
    if (!broken_.empty()) return fail("{}", broken_);
  }
  Result<bool> worked = work();
  publish_status();
  return worked;
}

void RequestLoop::publish_status() {
  const BlockAllocator& allocator = scheduler_.allocator();
  counts_.running = scheduler_.running();
  counts_.blocks_held = allocator.held_blocks();
  counts_.blocks_cached = allocator.cached_blocks();
  counts_.blocks_total = allocator.blocks();
  counts_.block_tokens = allocator.block_tokens();
  counts_.preemptions = scheduler_.preemptions();
  std::lock_guard lock(mutex_);
  counts_.requests_accepted = status_.requests_accepted;
  status_ = counts_;
}

Result<bool> RequestLoop::work() {
  take_orders();
  step_drafts_ = 0;
  expected_accepted_ = 0;
  const Step step = scheduler_.next_step(speculation_ == Speculation::kOff ? nullptr : this,
                                         pace_ ? pace_->bounds() : StepBounds());
  if (!drafted_) {
    scheduler_.abort_step();
    close(drafted_.error().message, FinishReason::kFailed);
    return forward_error(drafted_);
  }
  if (step.empty()) return false;

  const double begin = now_();
  begin_all(step, begin);
  Result<std::span<const float>> logits;
  try {
    logits = compute(step);
  } catch (const std::bad_alloc&) {
    give_up_for_memory(step);
    return true;
  }
  lacked_memory_ = false;
  if (!logits) {
    scheduler_.abort_step();
    close(logits.error().message, FinishReason::kFailed);
    return forward_error(logits);
  }
  CHECK(logits->size() == step.batch.logit_rows.size() * vocabulary_);
  const double time = now_();
  if (pace_) pace_->measured(step.answering, step.prompt_tokens, time - begin);
  const auto tokens = static_cast<uint32_t>(step.batch.tokens.size());
  if (tokens == step.batch.logit_rows.size()) costs_.measured(tokens, time - begin);
  count_step(step, time - begin);
  const Status decided = decide_all(step, *logits, time);
  if (!ids_.empty()) publish_status();  // who hears of an end finds it counted
  for (const RequestId id : ids_) finish(id);
  if (decided) return true;
  close(decided.error().message, FinishReason::kFailed);
  return forward_error(decided);
}

// What the step's logits mean for each whose they are; ids_: who has ended. An error means that the
// device has failed behind them.
Status RequestLoop::decide_all(const Step& step, std::span<const float> logits, double time) {
  continuations_.clear();
  ids_.clear();
  tell_prompts(step, logits);
  for (size_t i = 0; i < step.samples.size(); ++i) {
    const auto [first, rows] = step.sample_rows[i];
    const auto drafts = step.batch.tokens.subspan(step.batch.logit_rows[first] + 1, rows - 1);
    Continuation& next = continuations_.emplace_back();
    ActiveRequest& request = find(step.samples[i]);
    const Usage before = request.usage;
    request.decide(logits.subspan(size_t{first} * vocabulary_, size_t{rows} * vocabulary_), drafts,
                   time, next);
    count_tokens(before, request.usage);
    if (next.finished) ids_.push_back(step.samples[i]);
  }
  Status followed;
  if (predictor_) followed = follow(step);
  scheduler_.commit(continuations_);
  for (const RequestId id : cancelled_ids_) {  // who failed in the middle of its prompt
    if (scheduler_.cancel(id)) ids_.push_back(id);
  }
  return followed;
}

// To whom it belongs, what the step says of prompts' tokens; cancelled_ids_: who could not take it.
void RequestLoop::tell_prompts(const Step& step, std::span<const float> logits) {
  cancelled_ids_.clear();
  for (size_t i = 0; i < step.sequences.size(); ++i) {
    const auto [first, rows] = step.prompt_rows[i];
    if (rows == 0) continue;
    ActiveRequest& request = find(step.sequences[i]);
    bool told = true;
    for (uint32_t row = first; row < first + rows && told; ++row) {
      const uint32_t next = step.batch.logit_rows[row] + 1;
      const bool in_step = next < step.batch.layout.sequence_starts[i + 1];
      told = request.tell_prompt(logits.subspan(size_t{row} * vocabulary_, vocabulary_),
                                 in_step ? step.batch.tokens[next] : step.followers[i]);
    }
    if (!told) cancelled_ids_.push_back(step.sequences[i]);
  }
}

// The prediction layer reads every token of the step that stays, now that it is known what follows.
Status RequestLoop::follow(const Step& step) {
  predictor_->begin(step);
  const auto samples = static_cast<uint32_t>(step.samples.size());
  const auto& starts = step.batch.layout.sequence_starts;
  for (size_t i = 0, sample = 0; i < step.sequences.size(); ++i) {
    const uint32_t tokens = starts[i + 1] - starts[i];
    if (step.followers[i] != kNoFollower) {
      predictor_->follow(i, tokens, step.followers[i], nullptr);
      continue;
    }
    const uint32_t drafted = step.sample_rows[sample].count - 1;
    const auto drafts = step.batch.tokens.subspan(starts[i + 1] - drafted, drafted);
    const Continuation& next = continuations_[sample++];
    const uint32_t accepted = accepted_drafts(drafts, next);
    std::optional<TokenId> follower;
    if (accepted < next.tokens.size()) follower = next.tokens[accepted];
    ActiveRequest& request = find(step.sequences[i]);
    const bool wanted = next.tokens.size() == accepted + 1 && wants_guess(request, next, samples);
    predictor_->follow(i, tokens - drafted + accepted, follower,
                       wanted ? request.prediction : nullptr);
  }
  const double begin = now_();
  try {
    HADAL_TRY_VOID(predictor_->end());
  } catch (const std::bad_alloc&) {
    return {};  // there are no guesses then
  }
  if (predictor_->guesses() > 0 && predictor_->tokens() <= StepCosts::kTokensMost) {
    guess_costs_.measured(1, (now_() - begin) / predictor_->guesses());
  }
  return {};
}

// Where nothing would come of it, not even the first guess is made.
bool RequestLoop::wants_guess(ActiveRequest& request, const Continuation& next,
                              uint32_t samples) const {
  if (next.finished) return false;
  if (is_always(speculation_)) return true;
  const uint32_t worth =
      draft_tokens(costs_, {.step_tokens = samples,
                            .expected_tokens = static_cast<double>(samples),
                            .probability = request.acceptance.best_probability(),
                            .tokens_max = kDraftTokensMax,
                            .guess_seconds = guess_costs_.seconds(1).value_or(0)});
  if (worth > 0) {
    if (request.guesses_used >= kGuessesUsedLeast) return true;
    if (++request.guesses_left_out < kGuessRetrySteps) return false;
    request.guesses_left_out = 0;
    return true;
  }
  for (uint32_t grade = 0; grade < kDraftGrades; ++grade) request.acceptance.passed_over(grade);
  return false;
}

// What other threads have asked for since the last step.
void RequestLoop::take_orders() {
  ids_.clear();
  cancelled_ids_.clear();
  {
    std::lock_guard lock(mutex_);
    ids_.swap(arrived_);
    if (std::exchange(cancel_asked_, false)) {
      for (const auto& [id, request] : requests_) {
        if (request->cancelled) cancelled_ids_.push_back(id);
      }
    }
  }
  for (const RequestId id : ids_) {
    ActiveRequest& request = find(id);
    try {
      const uint32_t answer_max = std::min(request.max_tokens, request.room);
      CHECK(scheduler_.add(id, std::move(request.prompt),
                           {.answer_max = answer_max,
                            .cache_salt = request.cache_salt,
                            .fairness_key = request.fairness_key,
                            .wants_hidden = request.pool.has_value(),
                            .wants_prompt_logits = request.wants_prompt_logits}));
    } catch (const std::bad_alloc&) {
      request.fail_with("there is not enough memory for this request");
      finish(id);
    }
  }
  std::ranges::sort(cancelled_ids_);  // the map's order is nobody's
  for (const RequestId id : cancelled_ids_) {
    if (scheduler_.cancel(id)) finish(id);
  }
}

void RequestLoop::begin_all(const Step& step, double time) {
  for (const RequestId id : step.begun) {
    ActiveRequest& request = find(id);
    request.usage.queue_seconds = time - request.submitted;
    request.usage.cached_tokens = scheduler_.cached_tokens(id);
    counts_.prompt_tokens += request.usage.prompt_tokens;
    counts_.cached_tokens += request.usage.cached_tokens;
  }
}

Result<std::span<const float>> RequestLoop::compute(const Step& step) {
  if (!step.wants_hidden) return runner_.run(step.batch);
  HADAL_TRY(const std::span<const float> logits, runner_.run_with_hidden(step.batch));
  const SequenceLayout& layout = step.batch.layout;
  for (size_t i = 0; i < step.sequences.size(); ++i) {
    ActiveRequest& request = find(step.sequences[i]);
    if (!request.pool) continue;
    const uint32_t first = layout.sequence_starts[i];
    HADAL_TRY(const std::span<const float> states,
              runner_.hidden(first, layout.sequence_starts[i + 1] - first));
    request.pool->add(static_cast<uint32_t>(layout.positions[first]), states);
  }
  return logits;
}

// Memory may come back: the step is tried once more. If it lacks again, whoever came last goes, and
// the others are tried without him.
void RequestLoop::give_up_for_memory(const Step& step) {
  const RequestId youngest = step.sequences.back();
  scheduler_.abort_step();
  if (!std::exchange(lacked_memory_, true)) return;
  scheduler_.cancel(youngest);
  find(youngest).fail_with("there is not enough memory for a step of this request");
  finish(youngest);
}

void RequestLoop::count_tokens(const Usage& before, const Usage& now) {
  counts_.answer_tokens += now.answer_tokens - before.answer_tokens;
  counts_.drafted_tokens += now.drafted_tokens - before.drafted_tokens;
  counts_.accepted_tokens += now.accepted_tokens - before.accepted_tokens;
}

void RequestLoop::count_step(const Step& step, double seconds) {
  ++counts_.steps;
  counts_.last_step_tokens = static_cast<uint32_t>(step.batch.tokens.size());
  counts_.last_step_sequences = static_cast<uint32_t>(step.sequences.size());
  counts_.last_step_seconds = seconds;
  counts_.step_tokens += counts_.last_step_tokens;
  counts_.step_sequences += counts_.last_step_sequences;
  counts_.step_seconds += seconds;
}

// Guesses are asked for only in steps where everybody is answering: a chunk of a prompt hides what
// a guess costs, and who waits for it should not wait longer.
uint32_t RequestLoop::propose(const DraftRoom& room, std::span<TokenId> into) {
  const bool always = is_always(speculation_);
  if (!always && room.step_tokens - step_drafts_ != room.step_samples) return 0;
  ActiveRequest& request = find(room.id);
  if (request.usage.answer_tokens == 0) return 0;  // a prompt of one token
  const Draft draft = request.drafter->propose(room.history, into);
  if (draft.tokens == 0) return 0;
  request.draft_grade = draft.grade;
  const double probability = request.acceptance.probability(draft.grade);
  uint32_t count = draft.tokens;
  if (!always) {
    count = draft_tokens(costs_,
                         {.step_tokens = room.step_tokens,
                          .expected_tokens = room.step_samples + expected_accepted_,
                          .probability = probability,
                          .tokens_max = draft.tokens,
                          .guess_seconds = predictor_ ? guess_costs_.seconds(1).value_or(0) : 0});
    if (count == 0) request.acceptance.passed_over(draft.grade);
  }
  request.guesses_used =
      kGuessesUsedKept * request.guesses_used + (1 - kGuessesUsedKept) * (count > 0);
  if (count > 1 && !complete(request, room, into.first(count))) count = 1;
  step_drafts_ += count;
  expected_accepted_ += expected_accepted(probability, count);
  return count;
}

// False: there is only the first guess.
bool RequestLoop::complete(ActiveRequest& request, const DraftRoom& room, std::span<TokenId> into) {
  if (!drafted_) return false;
  const double begin = now_();
  try {
    drafted_ = request.drafter->complete(room, into);
  } catch (const std::bad_alloc&) {
    return false;  // a guess is not worth failing for
  }
  if (predictor_) {
    guess_costs_.measured(1, (now_() - begin) / static_cast<double>(into.size() - 1));
  }
  return drafted_.has_value();
}

ActiveRequest& RequestLoop::find(RequestId id) {
  std::lock_guard lock(mutex_);
  const auto found = requests_.find(id);
  CHECK(found != requests_.end());
  return *found->second;
}

// The request's one end. The sink is called outside the lock: it may submit the next request.
void RequestLoop::finish(RequestId id) {
  std::unique_ptr<ActiveRequest> request;
  {
    std::lock_guard lock(mutex_);
    const auto found = requests_.find(id);
    CHECK(found != requests_.end());
    request = std::move(found->second);
    requests_.erase(found);
  }
  ++counts_.requests_finished[static_cast<size_t>(request->reason)];
  try {
    request->sink->on_finish(request->reason, request->usage, request->error);
  } catch (const std::bad_alloc&) {
    // The sink could not keep what it was told; it has been told.
  }
}

// Ends all requests and takes no more.
void RequestLoop::close(std::string_view message, FinishReason reason) {
  ids_.clear();
  {
    std::lock_guard lock(mutex_);
    broken_ = message;
    arrived_.clear();
    for (const auto& [id, request] : requests_) ids_.push_back(id);
  }
  std::ranges::sort(ids_);
  for (const RequestId id : ids_) {
    scheduler_.cancel(id);
    if (reason == FinishReason::kFailed) find(id).fail_with(message);
    finish(id);
  }
}

}  // namespace hadal
