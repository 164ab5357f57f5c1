#include "server/chat/chat_run.h"

#include <chrono>
#include <new>
#include <optional>
#include <random>

namespace hadal {

namespace {

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

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
  ChoiceSink(std::shared_ptr<ChatRun> run, uint32_t choice, std::string_view calls_template)
      : run_(std::move(run)), choice_(choice) {
    if (!calls_template.empty()) calls_.emplace(calls_template);
  }

  bool on_delta(const TextDelta& delta) override {
    ChatDelta told{.thinking = delta.thinking, .text = delta.answer, .calls = {}};
    if (calls_) take(calls_->push(delta.answer), told);
    if (told.thinking.empty() && told.text.empty() && told.calls.empty()) return true;
    return run_->tell_delta(choice_, told);
  }

  void on_finish(Answer answer, std::string_view error) override {
    const auto run = std::move(run_);
    if (answer.reason == FinishReason::kFailed) {
      return run->tell_error(
          {.kind = ErrorKind::kFailed, .message = std::string(error), .field = {}});
    }
    if (answer.reason == FinishReason::kCancelled) {
      return run->tell_error(
          {.kind = ErrorKind::kUnavailable, .message = "the answer was cancelled", .field = {}});
    }
    if (calls_) {
      ChatDelta rest;
      take(calls_->finish(), rest);
      if (!rest.text.empty() || !rest.calls.empty()) run->tell_delta(choice_, rest);
    }
    run->tell_finish(choice_, answer, calls_ ? calls_->calls() : 0);
  }

 private:
  static void take(ToolCallDelta&& delta, ChatDelta& told) {
    told.text = std::move(delta.text);
    told.calls = std::move(delta.calls);
  }

  std::shared_ptr<ChatRun> run_;
  const uint32_t choice_;
  std::optional<ToolCallStream> calls_;
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
    requests = requests_;
  }
  for (const RequestId id : requests) lease_->cancel(id);
}

void ChatRun::begin(RequestResult<ModelLease> lease) {
  try {
    if (!lease) return tell_error(lease.error());
    lease_ = std::move(*lease);
    if (auto submitted = submit_all(); !submitted) tell_error(submitted.error());
  } catch (const std::bad_alloc&) {
    tell_error({.kind = ErrorKind::kUnavailable,
                .message = "there is not enough memory for this request",
                .field = {}});
  }
}

RequestResult<void> ChatRun::submit_all() {
  {
    std::lock_guard lock(mutex_);
    if (over_) return {};
    choices_left_ = job_.choices;
  }
  auto places = lease_->take_places(job_.choices);
  if (!places) return tl::unexpected(places.error());
  places_ = std::move(*places);
  auto prompt = make_prompt();
  if (!prompt) return tl::unexpected(prompt.error());
  {
    std::lock_guard lock(mutex_);
    if (over_) return {};
    reader_->on_start(
        {.model = lease_->name(), .prompt_tokens = static_cast<uint32_t>(prompt->tokens.size())});
  }
  GenerationOptions options = job_.generation(lease_->sampling());
  if (!job_.seed) options.sampling.seed = std::random_device{}();
  std::string_view calls_template;
  if (job_.tools.is_array()) calls_template = lease_->generator().chat_template_source();
  for (uint32_t choice = 0; choice < job_.choices; ++choice) {
    auto id = lease_->submit(
        *prompt, options, std::make_shared<ChoiceSink>(shared_from_this(), choice, calls_template));
    if (!id) return tl::unexpected(id.error());
    ++options.sampling.seed;
    std::unique_lock lock(mutex_);
    if (over_) {
      lock.unlock();
      lease_->cancel(*id);
      break;
    }
    requests_.push_back(*id);
  }
  return {};
}

RequestResult<Prompt> ChatRun::make_prompt() const {
  const Generator& generator = lease_->generator();
  Result<Prompt> prompt = Prompt{};
  if (job_.messages) {
    const ChatOptions options{.thinking = job_.thinking,
                              .now_seconds = now_seconds(),
                              .tools = job_.tools.is_array() ? &job_.tools : nullptr,
                              .variables = job_.variables.is_object() ? &job_.variables : nullptr};
    prompt = generator.chat_prompt(*job_.messages, options);
  } else if (!job_.prompt_tokens.empty()) {
    prompt->tokens = job_.prompt_tokens;
  } else {
    prompt = generator.raw_prompt(job_.prompt);
  }
  if (!prompt) return refuse(ErrorKind::kInvalid, "{}", prompt.error().message);
  const auto tokens = static_cast<uint32_t>(prompt->tokens.size());
  const uint32_t context = lease_->generator().engine().info().context_tokens;
  if (tokens >= context) {
    return tl::unexpected(RequestError{
        .kind = ErrorKind::kTooLong,
        .message = fmt::format("the prompt has {} tokens, but the context holds {} and an answer "
                               "needs at least one of them",
                               tokens, context),
        .field = job_.messages ? "messages" : "prompt",
        .prompt_tokens = tokens,
        .context_tokens = context});
  }
  return std::move(*prompt);
}

bool ChatRun::tell_delta(uint32_t choice, const ChatDelta& delta) {
  std::lock_guard lock(mutex_);
  if (!over_ && !reader_->on_delta(choice, delta)) over_ = true;
  return !over_;
}

void ChatRun::tell_finish(uint32_t choice, const Answer& answer, size_t calls) {
  std::lock_guard lock(mutex_);
  if (over_) return;
  usage_.prompt_tokens = answer.usage.prompt_tokens;
  usage_.cached_tokens = std::max(usage_.cached_tokens, answer.usage.cached_tokens);
  usage_.answer_tokens += answer.usage.answer_tokens;
  usage_.thinking_tokens += answer.thinking_tokens;
  usage_.prompt_seconds = std::max(usage_.prompt_seconds, answer.usage.prompt_seconds);
  usage_.decode_seconds = std::max(usage_.decode_seconds, answer.usage.decode_seconds);
  reader_->on_finish(choice, finish_of(answer, calls), answer.stop_string);
  if (--choices_left_ > 0) return;
  over_ = true;
  reader_->on_end(usage_);
}

void ChatRun::tell_error(const RequestError& error) {
  std::vector<RequestId> others;
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
    over_ = true;
    reader_->on_error(error);
    others = requests_;
  }
  for (const RequestId id : others) lease_->cancel(id);
}

}  // namespace hadal
