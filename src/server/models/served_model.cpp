#include "server/models/served_model.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "server/models/watched_sink.h"

namespace hadal {

namespace {

constexpr std::chrono::milliseconds kMemoryPause{10};

ErrorKind error_kind(RefusalKind kind) {
  switch (kind) {
    case RefusalKind::kInvalid:
      return ErrorKind::kInvalid;
    case RefusalKind::kPromptTooLong:
      return ErrorKind::kTooLong;
    case RefusalKind::kQueueFull:
      return ErrorKind::kOverloaded;
    default:
      return ErrorKind::kUnavailable;
  }
}

}  // namespace

QueuePlaces::QueuePlaces(QueuePlaces&& other) noexcept
    : model_(std::exchange(other.model_, nullptr)), count_(other.count_) {}

QueuePlaces& QueuePlaces::operator=(QueuePlaces&& other) noexcept {
  std::swap(model_, other.model_);
  std::swap(count_, other.count_);
  return *this;
}

QueuePlaces::~QueuePlaces() {
  if (model_ != nullptr) model_->answers_ -= count_;
}

ServedModel::ServedModel(std::string name, OpenedModel opened, uint32_t answers_max,
                         AnswerWatch* watch)
    : name_(std::move(name)),
      sampling_(opened.sampling),
      answers_max_(answers_max),
      watch_(watch),
      generator_(std::move(opened.generator)),
      thread_([this] { run(); }) {}

ServedModel::~ServedModel() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  woken_.notify_one();
  thread_.join();
}

RequestResult<QueuePlaces> ServedModel::take_places(uint32_t count) {
  if (count > answers_max_) {
    return refuse(ErrorKind::kInvalid,
                  "the request asks for {} answers, but this server takes at most {} at once",
                  count, answers_max_);
  }
  uint32_t before = answers_;
  do {
    if (count > answers_max_ - std::min(before, answers_max_)) {
      auto refusal = refuse(ErrorKind::kOverloaded,
                            "{} answers are under way or waiting, as many as this server takes; "
                            "try again in a moment",
                            before);
      refusal.value().retry_after_seconds = 1;
      return refusal;
    }
  } while (!answers_.compare_exchange_weak(before, before + count));
  return QueuePlaces(*this, count);
}

Result<std::shared_ptr<TokenMask>> ServedModel::mask(const AnswerForm& form) {
  {
    std::lock_guard lock(structured_mutex_);
    if (!structured_) {
      HADAL_TRY(structured_, StructuredOutput::open(*generator_->tokenizer()));
    }
  }
  return structured_->mask(form);
}

RequestResult<RequestId> ServedModel::submit(const Prompt& prompt, const GenerationOptions& options,
                                             std::shared_ptr<AnswerSink> sink) {
  if (watch_ != nullptr) {
    sink = std::make_shared<WatchedSink>(*watch_, name_, options.fairness_key, std::move(sink));
  }
  auto id = generator_->submit(prompt, options, std::move(sink));
  if (!id) return refuse(error_kind(id.error().kind), "{}", id.error().message);
  wake();
  return *id;
}

RequestResult<RequestId> ServedModel::embed(std::vector<TokenId> tokens,
                                            const EmbeddingOptions& options, EmbeddingDone done) {
  auto id = generator_->engine().submit({.prompt = std::move(tokens),
                                         .sampling = {},
                                         .end_tokens = {},
                                         .sink = std::make_shared<EmbeddingRequest>(
                                             watch_, name_, options.fairness_key, std::move(done)),
                                         .logit_bias = {},
                                         .top_log_probabilities = {},
                                         .mask = nullptr,
                                         .cache_salt = options.cache_salt,
                                         .fairness_key = options.fairness_key,
                                         .embedding = true});
  if (!id) return refuse(error_kind(id.error().kind), "{}", id.error().message);
  wake();
  return *id;
}

void ServedModel::cancel(RequestId id) {
  generator_->engine().cancel(id);
  wake();
}

void ServedModel::wake() {
  {
    std::lock_guard lock(mutex_);
    work_ = true;
  }
  woken_.notify_one();
}

void ServedModel::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [this] { return work_ || ending_; });
      if (ending_) return;
      work_ = false;
    }
    while (step()) {
    }
    if (broken_) return;
  }
}

// False: there is nothing to do, now or ever.
bool ServedModel::step() {
  {
    std::lock_guard lock(mutex_);
    if (ending_) return false;
  }
  try {
    const auto worked = generator_->engine().step();
    broken_ = !worked.has_value();  // then every answer has been told why
    return worked && *worked;
  } catch (const std::bad_alloc&) {
    std::this_thread::sleep_for(kMemoryPause);  // what others hold may be free by then
    return true;
  }
}

}  // namespace hadal
