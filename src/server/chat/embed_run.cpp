#include "server/chat/embed_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>
#include <utility>

#include "server/chat/fields.h"
#include "server/chat/job_prompt.h"
#include "server/limits.h"

namespace hadal {

namespace {

constexpr EmbeddingLimits kLimits;

void scale_to_unit_length(std::vector<float>& vector) {
  double square = 0;
  for (const float value : vector) square += double{value} * value;
  if (square == 0) return;
  const double scale = 1 / std::sqrt(square);
  for (float& value : vector) value = static_cast<float>(value * scale);
}

}  // namespace

EmbedRun::EmbedRun(EmbedJob job, Done done) : job_(std::move(job)), done_(std::move(done)) {}

std::shared_ptr<EmbedRun> EmbedRun::start(ModelPool& pool, EmbedJob job, Done done) {
  const std::shared_ptr<EmbedRun> run(new EmbedRun(std::move(job), std::move(done)));
  const auto asked = std::chrono::steady_clock::now();
  pool.acquire(run->job_.model, [run, asked](RequestResult<ModelLease> lease) {
    run->result_.load_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count();
    run->begin(std::move(lease));
  });
  return run;
}

void EmbedRun::cancel() {
  std::vector<RequestId> requests;
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    requests.swap(requests_);  // memory may lack
  }
  for (const RequestId id : requests) lease_->cancel(id);
}

void EmbedRun::cut_off() {
  fail_all(cut_off_error());
}

void EmbedRun::begin(RequestResult<ModelLease> lease) {
  try {
    if (!lease) return fail_all(lease.error());
    lease_ = std::move(*lease);
    if (auto prepared = prepare(); !prepared) return fail_all(prepared.error());
    if (left_ == 0) return done_with_all();
    const size_t at_once = std::min<size_t>(left_, lease_->engine().info().sequences_max);
    auto places = lease_->take_places(static_cast<uint32_t>(at_once));
    if (!places) return fail_all(places.error());
    places_ = std::move(*places);
    for (size_t i = 0; i < at_once; ++i) submit_next();
  } catch (const std::bad_alloc&) {
    fail_all({.kind = ErrorKind::kUnavailable,
              .message = "there is not enough memory for this request",
              .field = {}});
  }
}

// Everything that can be refused is refused before anything is computed.
RequestResult<void> EmbedRun::prepare() {
  const uint32_t width = lease_->engine().info().embedding_width;
  if (width == 0) {
    return refuse(ErrorKind::kUnsupported, "{} was not loaded for embeddings", lease_->name());
  }
  if (job_.dimensions && *job_.dimensions != width) {
    return refuse_field(ErrorKind::kUnsupported, "dimensions",
                        fmt::format("dimensions can only be {} with {}: the model was not trained "
                                    "to have its embeddings shortened",
                                    width, lease_->name()));
  }
  if (job_.inputs.size() > kLimits.values_max / width) {
    return refuse_field(ErrorKind::kInvalid, job_.field,
                        fmt::format("{} has {} texts, but an answer of at most {} numbers holds "
                                    "only {} embeddings of {}'s {}",
                                    job_.field, job_.inputs.size(), kLimits.values_max,
                                    kLimits.values_max / width, lease_->name(), width));
  }
  const auto context = context_for(*lease_, job_.context_most);
  if (!context) return tl::unexpected(context.error());
  for (size_t i = 0; i < job_.inputs.size(); ++i) {
    auto tokens = tokens_of(i, *context);
    if (!tokens) return tl::unexpected(tokens.error());
    result_.tokens += tokens->size();
    texts_.push_back(std::move(*tokens));
    if (result_.tokens <= kLimits.tokens_max) continue;
    return refuse_field(
        ErrorKind::kInvalid, job_.field,
        fmt::format("{} has more than {} tokens; send its texts in several requests", job_.field,
                    kLimits.tokens_max));
  }
  job_.inputs.clear();
  left_ = texts_.size();
  result_.model = lease_->name();
  result_.vectors.resize(left_);
  return {};
}

RequestResult<std::vector<TokenId>> EmbedRun::tokens_of(size_t index, uint32_t context) {
  PromptText& input = job_.inputs[index];
  const uint32_t counted = tokens_counted(context);
  if (std::string* const text = std::get_if<std::string>(&input); text && job_.truncate) {
    text->resize(beginning_to_count(*lease_->generator().tokenizer(), *text, counted));
  }
  auto prompt = prompt_of(*lease_, input, job_.field, counted);
  if (!prompt) return tl::unexpected(prompt.error());
  std::vector<TokenId> tokens = std::move(prompt->tokens);
  const uint64_t least = prompt->tokens_least;
  const auto count = static_cast<uint32_t>(std::clamp<uint64_t>(least, tokens.size(), UINT32_MAX));
  const uint32_t most = context - 1;  // the engine keeps one for an answer
  if (count <= most) return tokens;
  if (job_.truncate) {
    tokens.resize(most);
    result_.truncated.push_back(static_cast<uint32_t>(index));
    return tokens;
  }
  return tl::unexpected(RequestError{
      .kind = ErrorKind::kTooLong,
      .message =
          fmt::format("text {} of {} has {}{} tokens, but an embedding can be had of at most {}",
                      index, job_.field, least > 0 ? "at least " : "", count, most),
      .field = job_.field,
      .prompt_tokens = count,
      .context_tokens = context});
}

void EmbedRun::submit_next() {
  size_t index = 0;
  std::vector<TokenId> tokens;
  {
    std::lock_guard lock(mutex_);
    if (over_ || next_ == texts_.size()) return;
    index = next_++;
    tokens = std::move(texts_[index]);
  }
  const auto id = lease_->embed(
      std::move(tokens), {.cache_salt = job_.cache_salt, .fairness_key = job_.cache_salt},
      [run = shared_from_this(), index](RequestResult<TextEmbedding> embedding) {
        run->take(index, std::move(embedding));
      });
  if (!id) return fail_all(id.error());
  std::unique_lock lock(mutex_);
  requests_.push_back(*id);
  if (!over_) return;
  lock.unlock();
  lease_->cancel(*id);
}

// On the engine thread.
void EmbedRun::take(size_t index, RequestResult<TextEmbedding> embedding) {
  if (!embedding) return fail_all(embedding.error());
  if (job_.unit_length) scale_to_unit_length(embedding->mean);
  std::string text = vector_json(embedding->mean, job_.form);
  bool last = false;
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
    result_.vectors[index] = std::move(text);
    last = --left_ == 0;
  }
  last ? done_with_all() : submit_next();
}

void EmbedRun::done_with_all() {
  std::lock_guard lock(mutex_);
  if (std::exchange(over_, true)) return;
  if (job_.record) job_.record->prompt_tokens += result_.tokens;
  done_(std::move(result_));
}

void EmbedRun::fail_all(const RequestError& error) {
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
    over_ = true;
    done_(tl::unexpected(error));
  }
  cancel();
}

}  // namespace hadal
