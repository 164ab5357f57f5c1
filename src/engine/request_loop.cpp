#include "engine/request_loop.h"

#include <algorithm>
#include <new>

#include "base/check.h"
#include "engine/answer_mask.h"
#include "engine/log_probabilities.h"

namespace hadal {

namespace {

// A guess of the predictor costs a head's time, wanted or not. Where so few of the last ones were
// worth trying, only every kGuessRetrySteps-th step makes one.
constexpr double kGuessesUsedLeast = 0.1, kGuessesUsedKept = 0.9;
constexpr uint32_t kGuessRetrySteps = 64;

constexpr std::string_view kClosed = "the engine was closed";
constexpr uint32_t kForcedTokensUsual = 16;  // room for a decision's tokens without allocation

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

struct RequestLoop::Active {
  Active(RequestId request_id, Request&& given, uint32_t vocabulary, uint32_t context_tokens,
         Speculation speculation, Predictor* predictor, double time)
      : id(request_id),
        prompt(std::move(given.prompt)),
        end_tokens(std::move(given.end_tokens)),
        sink(std::move(given.sink)),
        sampler(given.sampling, vocabulary, std::move(given.logit_bias)),
        max_tokens(given.max_tokens == 0 ? UINT32_MAX : given.max_tokens),
        cache_salt(given.cache_salt),
        fairness_key(given.fairness_key),
        submitted(time) {
    if (given.top_log_probabilities) report.emplace(*given.top_log_probabilities);
    if (given.mask) mask.emplace(std::move(given.mask), end_tokens, vocabulary);
    usage.prompt_tokens = static_cast<uint32_t>(prompt.size());
    room = context_tokens - usage.prompt_tokens;
    sampler.add_prompt(prompt);
    next.reserve(1 + kDraftTokensMax + kForcedTokensUsual);
    if (predictor != nullptr) {
      auto own = std::make_unique<PredictionDrafter>(*predictor);
      prediction = own.get();
      drafter = std::move(own);
    } else if (speculation != Speculation::kOff) {
      drafter = std::make_unique<NgramDrafter>(usage.prompt_tokens + std::min(max_tokens, room));
    }
  }

  const RequestId id;
  std::vector<TokenId> prompt;  // until the scheduler has it
  std::vector<TokenId> end_tokens;
  std::shared_ptr<TokenSink> sink;
  Sampler sampler;
  uint32_t max_tokens;
  uint32_t room;  // tokens that the context has for the answer
  const uint64_t cache_salt, fairness_key;
  std::optional<LogProbabilityReport> report;
  std::optional<AnswerMask> mask;
  double submitted, first_token = 0;
  Usage usage;
  FinishReason reason = FinishReason::kCancelled;
  std::string error;
  std::vector<TokenId> next;                // of this step
  std::unique_ptr<Drafter> drafter;         // null: no speculation
  PredictionDrafter* prediction = nullptr;  // the drafter, where it is one
  DraftAcceptance acceptance;
  uint32_t draft_grade = 0;       // of this step's drafts
  double guesses_used = 1;        // how many of the predictor's last ones were worth trying
  uint32_t guesses_left_out = 0;  // steps since then
  bool cancelled = false;         // under the loop's mutex

  void fail_with(std::string_view message) {
    reason = FinishReason::kFailed;
    try {
      error = message;
    } catch (const std::bad_alloc&) {
      error = "out of memory";  // so short that it needs none
    }
  }
};

RequestLoop::RequestLoop(const SchedulerOptions& scheduler, uint32_t vocabulary, StepRunner& runner,
                         std::function<double()> now, Speculation speculation,
                         DraftRunner* draft_runner)
    : vocabulary_(vocabulary),
      runner_(runner),
      now_(std::move(now)),
      speculation_(speculation),
      scheduler_(with_room_for_all(scheduler)) {
  CHECK(is_mtp(speculation) == (draft_runner != nullptr));
  if (draft_runner != nullptr) predictor_.emplace(*draft_runner, vocabulary, scheduler_.options());
  continuations_.reserve(scheduler.sequences_max);
  const size_t requests = scheduler_.options().waiting_max;
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
    requests_.emplace(id,
                      std::make_unique<Active>(id, std::move(request), vocabulary_,
                                               scheduler_.options().context_tokens, speculation_,
                                               predictor_ ? &*predictor_ : nullptr, time));
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
  const Step step = scheduler_.next_step(speculation_ == Speculation::kOff ? nullptr : this);
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
    logits = runner_.run(step.batch);
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
  const auto tokens = static_cast<uint32_t>(step.batch.tokens.size());
  if (tokens == step.batch.logit_rows.size()) costs_.measured(tokens, time - begin);
  count_step(step, time - begin);
  const Status decided = decide_all(step, *logits, time);
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
  for (size_t i = 0; i < step.samples.size(); ++i) {
    const uint32_t first = step.row_starts[i], rows = step.row_starts[i + 1] - first;
    const auto drafts = step.batch.tokens.subspan(step.batch.logit_rows[first] + 1, rows - 1);
    Continuation& next = continuations_.emplace_back();
    decide(find(step.samples[i]),
           logits.subspan(size_t{first} * vocabulary_, size_t{rows} * vocabulary_), drafts, time,
           next);
    if (next.finished) ids_.push_back(step.samples[i]);
  }
  Status followed;
  if (predictor_) followed = follow(step);
  scheduler_.commit(continuations_);
  return followed;
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
    const uint32_t drafted = step.row_starts[sample + 1] - step.row_starts[sample] - 1;
    const auto drafts = step.batch.tokens.subspan(starts[i + 1] - drafted, drafted);
    const Continuation& next = continuations_[sample++];
    const uint32_t accepted = accepted_drafts(drafts, next);
    std::optional<TokenId> follower;
    if (accepted < next.tokens.size()) follower = next.tokens[accepted];
    Active& request = find(step.sequences[i]);
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
bool RequestLoop::wants_guess(Active& request, const Continuation& next, uint32_t samples) const {
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
    Active& request = find(id);
    try {
      const uint32_t answer_max = std::min(request.max_tokens, request.room);
      CHECK(scheduler_.add(id, std::move(request.prompt),
                           {.answer_max = answer_max,
                            .cache_salt = request.cache_salt,
                            .fairness_key = request.fairness_key}));
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
    Active& request = find(id);
    request.usage.queue_seconds = time - request.submitted;
    request.usage.cached_tokens = scheduler_.cached_tokens(id);
    counts_.prompt_tokens += request.usage.prompt_tokens;
    counts_.cached_tokens += request.usage.cached_tokens;
  }
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
  Active& request = find(room.id);
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
bool RequestLoop::complete(Active& request, const DraftRoom& room, std::span<TokenId> into) {
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

// logits: [1 + drafts, vocabulary].
void RequestLoop::decide(Active& request, std::span<const float> logits,
                         std::span<const TokenId> drafts, double time, Continuation& next) {
  request.next.clear();
  const uint32_t answer_before = request.usage.answer_tokens;
  const uint32_t accepted_before = request.usage.accepted_tokens;
  try {
    take_rows(request, logits, drafts, time, next);
  } catch (const std::bad_alloc&) {
    request.fail_with("there is not enough memory for this request's answer");
    next.finished = true;
  }
  next.tokens = std::span(request.next).first(request.usage.answer_tokens - answer_before);
  counts_.answer_tokens += next.tokens.size();
  if (drafts.empty()) return;
  const auto drafted = static_cast<uint32_t>(drafts.size());
  const uint32_t accepted = request.usage.accepted_tokens - accepted_before;
  request.usage.drafted_tokens += drafted;
  counts_.drafted_tokens += drafted;
  counts_.accepted_tokens += accepted;
  request.acceptance.tried(request.draft_grade, drafted, accepted);
}

// One row's token after another, as long as each is what was guessed: then the next row's logits
// are those that the next step would have given.
void RequestLoop::take_rows(Active& request, std::span<const float> logits,
                            std::span<const TokenId> drafts, double time, Continuation& next) {
  for (size_t row = 0; row <= drafts.size(); ++row) {
    const auto of_row = logits.subspan(row * vocabulary_, vocabulary_);
    if (request.usage.answer_tokens == 0) {
      request.first_token = time;
      request.usage.prompt_seconds = time - request.submitted;
    }
    request.usage.decode_seconds = time - request.first_token;
    const TokenId token = draw(request, of_row, next);
    if (next.finished) return;
    const bool guessed = row < drafts.size() && token == drafts[row];
    request.usage.accepted_tokens += guessed;
    request.next.push_back(token);
    take_tokens(request, row, of_row, next);
    if (next.finished || !guessed || request.next.size() > row + 1) return;
  }
}

// The token that the logits give; or the answer's end without one.
TokenId RequestLoop::draw(Active& request, std::span<const float> logits, Continuation& next) {
  const AnswerMask::Next may_come = request.mask ? request.mask->look() : AnswerMask::Next::kToken;
  next.finished = may_come != AnswerMask::Next::kToken;
  if (may_come == AnswerMask::Next::kEnd) request.reason = FinishReason::kEndToken;
  if (may_come == AnswerMask::Next::kNothing) {
    request.fail_with(
        "no token of the vocabulary can go on with the form that the answer must have");
  }
  if (next.finished) return Sampler::kNoToken;
  const TokenId token = request.sampler.sample(
      logits, request.mask ? request.mask->allowed() : std::span<const uint32_t>());
  if (token != Sampler::kNoToken) return token;
  request.fail_with("the model's output has no number in it; its file may be damaged");
  next.finished = true;
  return token;
}

// The tokens of `next` from `first` on, the drawn one and what the sink forces behind it, one by
// one to the sink. logits: that the first was drawn from.
void RequestLoop::take_tokens(Active& request, size_t first, std::span<const float> logits,
                              Continuation& next) {
  const auto end_with = [&](FinishReason reason) {
    request.reason = reason;
    next.finished = true;
  };
  for (size_t i = first; i < request.next.size(); ++i) {
    const TokenId token = request.next[i];
    ++request.usage.answer_tokens;
    if (std::ranges::find(request.end_tokens, token) != request.end_tokens.end()) {
      return end_with(FinishReason::kEndToken);
    }
    request.sampler.add(token);
    if (request.mask) request.mask->accept(token);
    if (request.report && i == first) {
      request.sink->on_log_probabilities(request.report->of(logits, token));
    }
    const TokenDecision decision = request.sink->on_token(token);
    if (decision.stop) return end_with(FinishReason::kStopped);
    if (request.usage.answer_tokens >= request.max_tokens) {
      return end_with(FinishReason::kMaxTokens);
    }
    if (request.usage.answer_tokens >= request.room) return end_with(FinishReason::kContextFull);
    for (const TokenId forced : decision.force) {
      if (forced < 0 || static_cast<uint32_t>(forced) >= vocabulary_) {
        request.fail_with(
            fmt::format("a forced token {} is not in the model's vocabulary of {} tokens", forced,
                        vocabulary_));
        next.finished = true;
        return;
      }
      request.next.push_back(forced);
    }
  }
}

RequestLoop::Active& RequestLoop::find(RequestId id) {
  std::lock_guard lock(mutex_);
  const auto found = requests_.find(id);
  CHECK(found != requests_.end());
  return *found->second;
}

// The request's one end. The sink is called outside the lock: it may submit the next request.
void RequestLoop::finish(RequestId id) {
  std::unique_ptr<Active> request;
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
