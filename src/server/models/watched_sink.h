// A sink that tells a watch what passes on its way to another sink.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "engine/generation.h"
#include "server/models/answer_watch.h"

namespace hadal {

class WatchedSink : public AnswerSink {
 public:
  // watch: outlives the engine thread. model: outlives the sink.
  WatchedSink(AnswerWatch& watch, const std::string& model, uint64_t fairness_key,
              std::shared_ptr<AnswerSink> sink);

  void on_prompt_log_probabilities(const LogProbabilities& given) override {
    sink_->on_prompt_log_probabilities(given);
  }
  void on_log_probabilities(const LogProbabilities& given, bool thinking) override {
    sink_->on_log_probabilities(given, thinking);
  }
  bool on_delta(const TextDelta& delta) override;
  void on_finish(Answer answer, std::string_view error) override;

 private:
  using Clock = std::chrono::steady_clock;

  AnswerWatch& watch_;
  const std::string& model_;
  const uint64_t fairness_key_;
  const std::shared_ptr<AnswerSink> sink_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point last_;
  std::optional<double> first_seconds_;
};

}  // namespace hadal
