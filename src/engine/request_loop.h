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
#include "engine/latency_pace.h"
#include "engine/predictor.h"
#include "engine/scheduler.h"

namespace hadal {

struct ActiveRequest;

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // Computes the batch to its end; the logits [logit_rows, vocabulary] stay until the next call. An
  // error means that the device can be used no more. May throw bad_alloc: then nothing of the
  // batch counts, and the next call may come.
  virtual Result<std::span<const float>> run(const Batch& batch) = 0;
  // The same, and hidden() can be asked until the next call. Only where RequestLoopOptions says
  // that there are hidden states.
  virtual Result<std::span<const float>> run_with_hidden(const Batch& batch) { return run(batch); }
  // Of so many of the batch's tokens from `first` on, the hidden states behind the last norm:
  // [count, width], good until the next call of any. Errors and bad_alloc as with run.
  virtual Result<std::span<const float>> hidden(uint32_t /*first*/, uint32_t /*count*/) {
    return fail("this model's hidden states cannot be read");
  }
};

struct RequestLoopOptions {
  SchedulerOptions scheduler;
  uint32_t vocabulary = 0;
  Speculation speculation = Speculation::kOff;
  uint32_t hidden_width = 0;  // of StepRunner::hidden; 0: no embeddings
  // A step should take no longer while anybody is answering (engine/latency_pace); 0: no matter.
  double step_seconds_target = 0;
};

class RequestLoop : private DraftSource {
 public:
  // now: seconds of any steady clock. runner, draft_runner: outlive the loop; the latter is needed
  // for Speculation::kMtp and kMtpAlways alone.
  RequestLoop(const RequestLoopOptions& options, StepRunner& runner, std::function<double()> now,
              DraftRunner* draft_runner = nullptr);
  ~RequestLoop() override;  // what runs still ends as kCancelled

  tl::expected<RequestId, Refusal> submit(Request request);  // see Engine
  void cancel(RequestId id);
  Result<bool> step();
  EngineStatus status() const;

  bool idle();
  Scheduler& scheduler() { return scheduler_; }

 private:
  std::optional<Refusal> refusal_of(const Request& request) const;
  Result<bool> work();
  void take_orders();
  void begin_all(const Step& step, double time);
  Result<std::span<const float>> compute(const Step& step);
  void give_up_for_memory(const Step& step);
  void count_tokens(const Usage& before, const Usage& now);
  void count_step(const Step& step, double seconds);
  void publish_status();
  uint32_t propose(const DraftRoom& room, std::span<TokenId> into) override;
  bool complete(ActiveRequest& request, const DraftRoom& room, std::span<TokenId> into);
  void tell_prompts(const Step& step, std::span<const float> logits);
  Status decide_all(const Step& step, std::span<const float> logits, double time);
  Status follow(const Step& step);
  bool wants_guess(ActiveRequest& request, const Continuation& next, uint32_t samples) const;
  ActiveRequest& find(RequestId id);
  void finish(RequestId id);
  void close(std::string_view message, FinishReason reason);

  const uint32_t vocabulary_, hidden_width_;
  StepRunner& runner_;
  std::function<double()> now_;
  const Speculation speculation_;
  std::optional<LatencyPace> pace_;
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
  std::unordered_map<RequestId, std::unique_ptr<ActiveRequest>> requests_;
  std::vector<RequestId> arrived_;  // not yet with the scheduler, in order
  std::string broken_;              // why no request is taken any more
  RequestId next_id_ = 1;
  bool cancel_asked_ = false;
};

}  // namespace hadal
