#include "server/models/watched_sink.h"

#include <utility>

namespace hadal {

namespace {

double seconds_between(std::chrono::steady_clock::time_point a,
                       std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

WatchedSink::WatchedSink(AnswerWatch& watch, const std::string& model, uint64_t fairness_key,
                         std::shared_ptr<AnswerSink> sink)
    : watch_(watch), model_(model), fairness_key_(fairness_key), sink_(std::move(sink)) {}

bool WatchedSink::on_delta(const TextDelta& delta) {
  const auto now = Clock::now();
  if (first_seconds_) {
    watch_.on_next(model_, seconds_between(last_, now));
  } else {
    first_seconds_ = seconds_between(begin_, now);
    watch_.on_first(model_, *first_seconds_);
  }
  last_ = now;
  return sink_->on_delta(delta);
}

void WatchedSink::on_finish(Answer answer, std::string_view error) {
  watch_.on_finish({.model = model_,
                    .fairness_key = fairness_key_,
                    .reason = answer.reason,
                    .usage = answer.usage,
                    .seconds = seconds_between(begin_, Clock::now()),
                    .first_seconds = first_seconds_});
  sink_->on_finish(std::move(answer), error);
}

}  // namespace hadal
