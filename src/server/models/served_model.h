// One loaded model and its engine thread, which steps while there is work and sleeps otherwise.
// Any thread may use it; whoever does holds a Lease, so that it stays. Memory: one copy of the
// weights, the cache that the engine took at the start.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/generation.h"
#include "server/models/answer_watch.h"
#include "server/models/embedding_request.h"
#include "server/request_error.h"
#include "text/grammar/structured_output.h"

namespace hadal {

class ServedModel;

struct OpenedModel {
  std::unique_ptr<Generator> generator;
  SamplingOptions sampling;  // where a request says nothing
};

// Places in a model's queue, given back when it goes.
class QueuePlaces {
 public:
  QueuePlaces() = default;
  QueuePlaces(ServedModel& model, uint32_t count) : model_(&model), count_(count) {}
  QueuePlaces(QueuePlaces&& other) noexcept;
  QueuePlaces& operator=(QueuePlaces&& other) noexcept;
  ~QueuePlaces();

 private:
  ServedModel* model_ = nullptr;
  uint32_t count_ = 0;
};

class ServedModel {
 public:
  // answers_max: that may run and wait together. watch: null, or outlives the model.
  ServedModel(std::string name, OpenedModel opened, uint32_t answers_max, AnswerWatch* watch);
  ~ServedModel();  // waits for the engine thread; not on it

  const std::string& name() const { return name_; }
  Generator& generator() { return *generator_; }  // its const functions, and engine().cancel()
  const Generator& generator() const { return *generator_; }
  const Engine& engine() const { return generator_->engine(); }  // info() and status()
  const SamplingOptions& sampling() const { return sampling_; }

  // Refused (kOverloaded) where the queue is full; kInvalid: it never has so many.
  RequestResult<QueuePlaces> take_places(uint32_t count);
  // What holds one answer to a form (text/grammar/structured_output.h). Not on the engine
  // thread.
  Result<std::shared_ptr<TokenMask>> mask(const AnswerForm& form);
  RequestResult<RequestId> submit(const Prompt& prompt, const GenerationOptions& options,
                                  std::shared_ptr<AnswerSink> sink);
  // A text's embedding in place of an answer; EngineOptions::embeddings must be set. Beside
  // answers, by the same weights.
  RequestResult<RequestId> embed(std::vector<TokenId> tokens, const EmbeddingOptions& options,
                                 EmbeddingDone done);
  void cancel(RequestId id);

  uint32_t answers() const { return answers_; }  // running and waiting
  bool broken() const { return broken_; }        // a step failed; it answers no more

 private:
  friend class QueuePlaces;
  void run();
  bool step();
  void wake();

  const std::string name_;
  const SamplingOptions sampling_;
  const uint32_t answers_max_;
  AnswerWatch* const watch_;
  std::mutex structured_mutex_;
  std::unique_ptr<StructuredOutput> structured_;  // from its first use on
  std::atomic<uint32_t> answers_ = 0;
  std::atomic<bool> broken_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable woken_;
  bool work_ = false, ending_ = false;

  // Ends the answers that are left, which give back their places above.
  std::unique_ptr<Generator> generator_;
  std::thread thread_;
};

}  // namespace hadal
