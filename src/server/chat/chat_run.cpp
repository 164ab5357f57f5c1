#include "server/chat/chat_run.h"

#include <new>
#include <optional>
#include <random>
#include <utility>

#include "server/chat/fields.h"
#include "server/chat/job_prompt.h"
#include "server/chat/tools.h"
#include "server/limits.h"

namespace hadal {

namespace {

// Log probabilities of a prompt are handed on so many at a time.
constexpr size_t kPromptLogprobsTogether = 64;

ChatFinish finish_of(const Answer& answer, size_t calls) {
  switch (answer.reason) {
    case FinishReason::kMaxTokens:
    case FinishReason::kContextFull:
      return ChatFinish::kLength;
    case FinishReason::kStopped:
      return ChatFinish::kStopText;
    default:
      return calls > 0 ? ChatFinish::kToolCalls : ChatFinish::kStop;
  }
}

}  // namespace

// One choice's answer on its way to the reader. Keeps the run alive until its end.
class ChatRun::ChoiceSink : public AnswerSink {
 public:
  ChoiceSink(std::shared_ptr<ChatRun> run, uint32_t choice, const std::optional<PromptEcho>& echo)
      : run_(std::move(run)),
        choice_(choice),
        one_call_only_(run_->job_.one_call_only),
        tokenizer_(*run_->lease_->generator().tokenizer()) {
    if (echo && run_->job_.scores_prompts()) {
      unwritten_ = echo->unwritten;
      add_prompt_token({.chosen = {.token = echo->first}, .top = {}}).foretold = false;
    }
    if (!run_->job_.tools.is_array() || run_->must_call()) return;
    calls_.emplace(run_->lease_->generator().chat_template_source());
  }

  void on_prompt_log_probabilities(const LogProbabilities& given) override {
    add_prompt_token(given);
    if (prompt_logprobs_.size() < kPromptLogprobsTogether) return;
    run_->tell_delta(choice_, {.prompt_logprobs = std::exchange(prompt_logprobs_, {})});
  }

  void on_log_probabilities(const LogProbabilities& given, bool thinking) override {
    if (!thinking) logprobs_.push_back(named(given));
  }

  bool on_delta(const TextDelta& delta) override {
    ChatDelta told{.thinking = delta.thinking,
                   .prompt_logprobs = std::exchange(prompt_logprobs_, {})};
    if (calls_) {
      take_calls(calls_->push(delta.answer), told);
    } else if (run_->must_call()) {
      call_text_ += delta.answer;
    } else {
      told.text = delta.answer;
    }
    const bool wanted = tell(std::move(told));
    return wanted && !enough_;
  }

  void on_finish(Answer answer, std::string_view error) override {
    const auto run = std::move(run_);
    if (RequestRecord* const record = run->job_.record.get()) {
      if (choice_ % run->job_.choices == 0) record->prompt_tokens += answer.usage.prompt_tokens;
      record->answer_tokens += answer.usage.answer_tokens;
    }
    if (answer.reason == FinishReason::kCancelled && enough_) {
      answer.reason = FinishReason::kEndToken;
    }
    if (answer.reason == FinishReason::kFailed) {
      return run->fail_all(
          {.kind = ErrorKind::kFailed, .message = std::string(error), .field = {}});
    }
    if (answer.reason == FinishReason::kCancelled) {  // the engine closes: so it is with all
      return run->tell_error(
          {.kind = ErrorKind::kUnavailable, .message = "the answer was cancelled", .field = {}});
    }
    ChatDelta rest{.prompt_logprobs = std::move(prompt_logprobs_)};
    if (calls_ && !enough_) take_calls(calls_->finish(), rest);
    if (run->must_call()) {
      const std::string& source = run->lease_->generator().chat_template_source();
      if (auto call = read_forced_call(run->job_, source, call_text_)) {
        rest.calls.push_back(std::move(*call));
        ++made_;
      }
    }
    rest.logprobs = std::move(logprobs_);
    if (!rest.empty()) run->tell_delta(choice_, rest);
    run->tell_finish(choice_, answer, made_);
  }

 private:
  ChatLogprob named(const TokenProbability& given) const {
    return {.bytes = std::string(tokenizer_.token_bytes(given.token)),
            .log_probability = given.log_probability};
  }
  ChatTokenLogprobs named(const LogProbabilities& given) const {
    ChatTokenLogprobs entry{.chosen = named(given.chosen), .top = {}};
    entry.characters = characters_in(entry.chosen.bytes);
    for (const TokenProbability& other : given.top) entry.top.push_back(named(other));
    return entry;
  }
  ChatTokenLogprobs& add_prompt_token(const LogProbabilities& given) {
    ChatTokenLogprobs& entry = prompt_logprobs_.emplace_back(named(given));
    const size_t left_out = std::min(unwritten_, entry.characters);
    entry.characters -= left_out;
    unwritten_ -= left_out;
    return entry;
  }

  bool tell(ChatDelta told) {
    if (!told.thinking.empty() || !told.text.empty()) told.logprobs = std::exchange(logprobs_, {});
    return told.empty() || run_->tell_delta(choice_, told);
  }

  void take_calls(ToolCallDelta&& delta, ChatDelta& told) {
    if (enough_) return;
    told.text = std::move(delta.text);
    told.calls = std::move(delta.calls);
    made_ += told.calls.size();
    if (made_ == 0 || !one_call_only_) return;
    told.calls.resize(1);
    made_ = 1;
    enough_ = true;
  }

  std::shared_ptr<ChatRun> run_;
  const uint32_t choice_;
  const bool one_call_only_;
  const Tokenizer& tokenizer_;
  std::optional<ToolCallStream> calls_;  // where calls may be made
  std::string call_text_;                // where one must be: all of the answer
  std::vector<ChatTokenLogprobs> prompt_logprobs_, logprobs_;
  size_t unwritten_ = 0;  // characters of the prompt's tokens to come (PromptEcho)
  size_t made_ = 0;       // calls
  bool enough_ = false;   // the one call that was wanted is there
};

ChatRun::ChatRun(ChatJob job, std::shared_ptr<ChatReader> reader)
    : job_(std::move(job)), reader_(std::move(reader)) {}

std::shared_ptr<ChatRun> ChatRun::start(ModelPool& pool, ChatJob job,
                                        std::shared_ptr<ChatReader> reader) {
  const std::shared_ptr<ChatRun> run(new ChatRun(std::move(job), std::move(reader)));
  pool.acquire(run->job_.model,
               [run](RequestResult<ModelLease> lease) { run->begin(std::move(lease)); });
  return run;
}

void ChatRun::cancel() {
  std::vector<RequestId> requests;
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    requests.swap(requests_);  // memory may lack
  }
  for (const RequestId id : requests) lease_->cancel(id);
}

void ChatRun::cut_off() {
  fail_all(cut_off_error());
}

void ChatRun::begin(RequestResult<ModelLease> lease) {
  try {
    if (!lease) return tell_error(lease.error());
    lease_ = std::move(*lease);
    if (auto submitted = submit_all(); !submitted) fail_all(submitted.error());
  } catch (const std::bad_alloc&) {
    tell_error({.kind = ErrorKind::kUnavailable,
                .message = "there is not enough memory for this request",
                .field = {}});
  }
}

RequestResult<void> ChatRun::submit_all() {
  for (const LogitBias& bias : job_.logit_bias) {
    if (auto checked = check_token(*lease_, bias.token, "logit_bias"); !checked) return checked;
  }
  const size_t prompts = job_.messages ? 1 : job_.prompts.size();
  const auto answers = static_cast<uint32_t>(prompts * job_.choices);
  {
    std::lock_guard lock(mutex_);
    if (over_) return {};
    choices_left_ = answers;
    cached_tokens_.resize(prompts);
  }
  auto places = lease_->take_places(answers);
  if (!places) return tl::unexpected(places.error());
  places_ = std::move(*places);
  std::vector<Question> questions;
  uint32_t tokens = 0;
  for (size_t i = 0; i < prompts; ++i) {
    auto question = make_question(i);
    if (!question) return tl::unexpected(question.error());
    tokens += static_cast<uint32_t>(question->prompt.tokens.size());
    questions.push_back(std::move(*question));
  }
  if (auto checked = check_scores(questions); !checked) return checked;
  ChatStart begun{.model = lease_->name(), .prompt_tokens = tokens, .echoed = {}};
  if (job_.echo) {
    for (const Question& question : questions) {
      begun.echoed.push_back(question.echo ? question.echo->text : "");
    }
  }
  {
    std::lock_guard lock(mutex_);
    if (over_) return {};
    reader_->on_start(begun);
  }
  GenerationOptions options = job_.generation(lease_->sampling());
  if (!job_.seed) options.sampling.seed = std::random_device{}();
  for (size_t i = 0; i < prompts; ++i) {
    const auto first_choice = static_cast<uint32_t>(i * job_.choices);
    if (auto done = submit(questions[i], options, first_choice); !done) return done;
  }
  return {};
}

// What is told of prompts' tokens is held until it is sent.
RequestResult<void> ChatRun::check_scores(const std::vector<Question>& questions) const {
  if (!job_.scores_prompts()) return {};
  uint64_t tokens = 0;
  for (const Question& question : questions) tokens += question.prompt.tokens.size();
  tokens *= job_.choices;
  const uint32_t most = ChatLimits().prompt_logprobs_max;
  if (tokens <= most) return {};
  return refuse_field(
      ErrorKind::kInvalid, "logprobs",
      fmt::format("logprobs with echo are told of at most {} tokens of prompts in a "
                  "request, each of n answers counted; this one has {}",
                  most, tokens));
}

RequestResult<void> ChatRun::submit(Question& question, GenerationOptions options,
                                    uint32_t first_choice) {
  options.max_tokens = question.max_tokens;
  for (uint32_t i = 0; i < job_.choices; ++i) {
    options.mask = std::move(question.masks[i]);
    auto id = lease_->submit(
        question.prompt, options,
        std::make_shared<ChoiceSink>(shared_from_this(), first_choice + i, question.echo));
    if (!id) return tl::unexpected(id.error());
    ++options.sampling.seed;
    std::unique_lock lock(mutex_);
    if (over_) {
      lock.unlock();
      lease_->cancel(*id);
      return {};
    }
    requests_.push_back(*id);
  }
  return {};
}

// null: the answer is free.
RequestResult<std::shared_ptr<TokenMask>> ChatRun::make_mask() {
  if (job_.schema.empty() && !must_call()) return std::shared_ptr<TokenMask>();
  AnswerForm form{.parts = {{.schema = job_.schema}}};
  if (must_call()) form.parts = forced_calls(job_, lease_->generator().chat_template_source());
  auto mask = lease_->mask(form);
  if (mask) return std::move(*mask);
  return refuse_field(ErrorKind::kUnsupported, must_call() ? "tools" : "response_format",
                      mask.error().message);
}

RequestResult<ChatRun::Question> ChatRun::make_question(size_t index) {
  const auto context = context_for(*lease_, job_.context_most);
  if (!context) return tl::unexpected(context.error());
  auto prompt = render_prompt(*lease_, job_, index, tokens_counted(*context));
  if (!prompt) return tl::unexpected(prompt.error());
  const uint64_t least = prompt->tokens_least;
  const auto tokens =
      static_cast<uint32_t>(std::clamp<uint64_t>(least, prompt->tokens.size(), UINT32_MAX));
  if (tokens >= *context) {
    const std::string which =
        job_.prompts.size() > 1 ? fmt::format("prompt {}", index) : "the prompt";
    return tl::unexpected(RequestError{
        .kind = ErrorKind::kTooLong,
        .message = fmt::format("{} has {}{} tokens, but the context holds {} and an answer needs "
                               "at least one of them",
                               which, least > 0 ? "at least " : "", tokens, *context),
        .field = job_.messages ? "messages" : "prompt",
        .prompt_tokens = tokens,
        .context_tokens = *context});
  }
  Question question{
      .prompt = std::move(*prompt), .echo = {}, .max_tokens = job_.max_tokens, .masks = {}};
  if (job_.echo && !question.prompt.tokens.empty()) {
    question.echo =
        echo_of(*lease_->generator().tokenizer(), job_.prompts[index], question.prompt.tokens);
  }
  if (job_.context_most > 0) {
    const uint32_t room = *context - tokens;
    question.max_tokens = job_.max_tokens == 0 ? room : std::min(job_.max_tokens, room);
  }
  for (uint32_t choice = 0; choice < job_.choices; ++choice) {
    auto mask = make_mask();
    if (!mask) return tl::unexpected(mask.error());
    question.masks.push_back(std::move(*mask));
  }
  return question;
}

bool ChatRun::tell_delta(uint32_t choice, const ChatDelta& delta) {
  std::lock_guard lock(mutex_);
  if (!over_ && !reader_->on_delta(choice, delta)) over_ = true;
  return !over_;
}

void ChatRun::tell_finish(uint32_t choice, const Answer& answer, size_t calls) {
  std::lock_guard lock(mutex_);
  if (over_) return;
  if (choice % job_.choices == 0) usage_.prompt_tokens += answer.usage.prompt_tokens;
  uint32_t& cached = cached_tokens_[choice / job_.choices];
  cached = std::max(cached, answer.usage.cached_tokens);
  usage_.answer_tokens += answer.usage.answer_tokens;
  usage_.thinking_tokens += answer.thinking_tokens;
  usage_.prompt_seconds = std::max(usage_.prompt_seconds, answer.usage.prompt_seconds);
  usage_.decode_seconds = std::max(usage_.decode_seconds, answer.usage.decode_seconds);
  reader_->on_finish(choice, finish_of(answer, calls), answer.stop_string);
  if (--choices_left_ > 0) return;
  over_ = true;
  for (const uint32_t tokens : cached_tokens_) usage_.cached_tokens += tokens;
  reader_->on_end(usage_);
}

void ChatRun::tell_error(const RequestError& error) {
  std::lock_guard lock(mutex_);
  if (over_) return;
  over_ = true;
  reader_->on_error(error);
}

void ChatRun::fail_all(const RequestError& error) {
  tell_error(error);
  cancel();
}

}  // namespace hadal
