// The requests of an engine: from submit() to on_finish(), step by step. What a request is owed
// (order, limits, its sink's calls, one end) lives here; who is computed when in scheduler.h; how a
// batch is computed behind StepRunner. A test runs the loop with a runner of its own.
//
// Threads: submit() and cancel() from any; all else, and the sinks' calls, on the engine thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/draft_pace.h"
#include "engine/engine.h"
#include "engine/predictor.h"
#include "engine/scheduler.h"

namespace hadal {

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // Computes the batch to its end; the logits [logit_rows, vocabulary] stay until the next call. An
  // error means that the device can be used no more. May throw bad_alloc: then nothing of the
  // batch counts, and the next call may come.
  virtual Result<std::span<const float>> run(const Batch& batch) = 0;
};

class RequestLoop : private DraftSource {
 public:
  // now: seconds of any steady clock. runner, draft_runner: outlive the loop; the latter is needed
  // for Speculation::kMtp and kMtpAlways alone.
  RequestLoop(const SchedulerOptions& scheduler, uint32_t vocabulary, StepRunner& runner,
              std::function<double()> now, Speculation speculation = Speculation::kOff,
              DraftRunner* draft_runner = nullptr);
  ~RequestLoop() override;  // what runs still ends as kCancelled

  tl::expected<RequestId, Refusal> submit(Request request);  // see Engine
  void cancel(RequestId id);
  Result<bool> step();
  EngineStatus status() const;

  bool idle();
  Scheduler& scheduler() { return scheduler_; }

 private:
  struct Active;

  std::optional<Refusal> refusal_of(const Request& request) const;
  Result<bool> work();
  void take_orders();
  void begin_all(const Step& step, double time);
  void give_up_for_memory(const Step& step);
  void count_step(const Step& step, double seconds);
  void publish_status();
  uint32_t propose(const DraftRoom& room, std::span<TokenId> into) override;
  bool complete(Active& request, const DraftRoom& room, std::span<TokenId> into);
  Status decide_all(const Step& step, std::span<const float> logits, double time);
  Status follow(const Step& step);
  bool wants_guess(Active& request, const Continuation& next, uint32_t samples) const;
  void decide(Active& request, std::span<const float> logits, std::span<const TokenId> drafts,
              double time, Continuation& next);
  void take_rows(Active& request, std::span<const float> logits, std::span<const TokenId> drafts,
                 double time, Continuation& next);
  TokenId draw(Active& request, std::span<const float> logits, Continuation& next);
  void take_tokens(Active& request, size_t first, std::span<const float> logits,
                   Continuation& next);
  Active& find(RequestId id);
  void finish(RequestId id);
  void close(std::string_view message, FinishReason reason);

  const uint32_t vocabulary_;
  StepRunner& runner_;
  std::function<double()> now_;
  const Speculation speculation_;
  Scheduler scheduler_;
  std::optional<Predictor> predictor_;  // with kMtp and kMtpAlways
  StepCosts costs_;
  StepCosts guess_costs_;                    // of the predictor; of one token
  Status drafted_;                           // an error: the device failed while drafts were made
  uint32_t step_drafts_ = 0;                 // in the step that is being put together
  double expected_accepted_ = 0;             // of them
  std::vector<Continuation> continuations_;  // of the step
  std::vector<RequestId> ids_, cancelled_ids_;  // of those that come or end in the step
  bool lacked_memory_ = false;                  // the last step did
  EngineStatus counts_;

  mutable std::mutex mutex_;  // guards what follows
  EngineStatus status_;       // as of the last step
  std::unordered_map<RequestId, std::unique_ptr<Active>> requests_;
  std::vector<RequestId> arrived_;  // not yet with the scheduler, in order
  std::string broken_;              // why no request is taken any more
  RequestId next_id_ = 1;
  bool cancel_asked_ = false;
};

}  // namespace hadal
