// Does one request for embeddings: gets the model, tokenizes the texts, and has the engine compute
// some at a time, as many as it computes together, beside whatever answers are under way. The same
// for all dialects.
//
// A text's embedding is the mean of its tokens' hidden states behind the model's last norm. It does
// not depend on the other texts of the request.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/chat/prompt_text.h"
#include "server/chat/vector_text.h"
#include "server/http/request_record.h"
#include "server/models/model_pool.h"
#include "server/request_error.h"

namespace hadal {

struct EmbedJob {
  std::string model;  // "": the server's default
  std::vector<PromptText> inputs;
  const char* field = "input";  // what the client calls them
  bool truncate = false;    // those too long for the context lose their end; else they are errors
  bool unit_length = true;  // divided by their Euclidean norm
  VectorForm form = VectorForm::kNumbers;
  std::optional<uint32_t> dimensions;     // must be the model's width: none can be left out
  uint32_t context_most = 0;              // a context smaller than the model's; 0: the model's
  uint64_t cache_salt = 0;                // and fairness key: who asks
  std::shared_ptr<RequestRecord> record;  // where its tokens are written down; null: nowhere
};

struct Embeddings {
  std::string model;
  std::vector<std::string> vectors;  // JSON, in the order of the inputs
  uint64_t tokens = 0;               // of all
  std::vector<uint32_t> truncated;   // the inputs that were
  double load_seconds = 0;           // until the model was there
};

class EmbedRun : public std::enable_shared_from_this<EmbedRun> {
 public:
  using Done = std::function<void(RequestResult<Embeddings>)>;

  // pool outlives the run. done: called once, from any thread; after cancel() perhaps never.
  static std::shared_ptr<EmbedRun> start(ModelPool& pool, EmbedJob job, Done done);
  void cancel();   // any thread
  void cut_off();  // the server ends: as cancel(), but who asked is told

 private:
  EmbedRun(EmbedJob job, Done done);

  void begin(RequestResult<ModelLease> lease);
  RequestResult<void> prepare();
  RequestResult<std::vector<TokenId>> tokens_of(size_t index, uint32_t context);
  void submit_next();
  void take(size_t index, RequestResult<TextEmbedding> embedding);
  void done_with_all();
  void fail_all(const RequestError& error);

  EmbedJob job_;
  ModelLease lease_;
  QueuePlaces places_;

  std::mutex mutex_;  // guards what follows, once the first text is submitted
  Done done_;
  std::vector<std::vector<TokenId>> texts_;  // empty: it is submitted
  size_t next_ = 0, left_ = 0;
  Embeddings result_;
  std::vector<RequestId> requests_;  // these two always
  bool over_ = false;                // done has been called, or nobody listens
};

}  // namespace hadal
