// The engine: many sequences, one loop. Owns the devices, the weights, the KV cache and the
// scheduler. Every step runs one forward over a batch that mixes prompt chunks and single decode
// tokens; one user is a batch of one.
//
// Threads: submit(), cancel(), status() and info() from any thread; open(), step(), score() and the
// sinks' and masks' calls on the engine thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "engine/sampler.h"
#include "file/model_file.h"
#include "model/attention_work.h"
#include "model/weights.h"
#include "text/grammar/token_mask.h"
#include "text/tokenizer.h"

namespace hadal {

// Speculative decoding: guesses at the next tokens, checked several in one step. The answer stays
// the same: each token is drawn from the model's logits as it would have been without (where a
// device rounds steps of several tokens differently, from logits that differ by that).
enum class Speculation : uint8_t {
  kOff,
  kNgram,        // guesses from the prompt and the answer so far, as many as pay here and now
  kNgramAlways,  // as many as there are and find room, whatever they cost: for tests
  kMtp,          // guesses by the model's own prediction layer, if its file has one
  kMtpAlways,
};
constexpr bool is_mtp(Speculation speculation) {
  return speculation == Speculation::kMtp || speculation == Speculation::kMtpAlways;
}

struct EngineOptions {
  uint32_t context_tokens = 0;     // 0: plan/placement's default
  uint32_t sequences_max = 1;      // that may run at once; at most step_tokens_max
  uint32_t waiting_max = 1024;     // requests that may wait for their turn
  uint32_t step_tokens_max = 512;  // tokens a step: prompts are cut into chunks of this
  std::optional<QuantType> key_type, value_type;  // as choose_kv_types has it
  Speculation speculation = Speculation::kOff;
  // While anybody is answering a step should take no longer than this: prompt chunks, and if need
  // be the number of sequences, are held to it. Milliseconds; 0: as many tokens a second as can be.
  double target_itl_ms = 0;
  bool embeddings = false;             // Request::embedding may be asked for: costs memory
  std::vector<uint32_t> layer_splits;  // plan/placement: layers over several devices
  std::function<bool(const LoadProgress&)> progress;  // false: no longer wanted, the load ends
};

// One matrix of the weights, or a stack of experts of which each token is sent to some.
struct MatrixWork {
  uint64_t bytes = 0, multiply_adds = 0;  // of one expert: as stored; for one token
  uint32_t experts = 1, experts_per_token = 1;
  bool head = false;  // only for tokens whose logits are wanted
};

struct EngineInfo {
  std::string architecture;
  uint32_t vocabulary = 0;
  uint32_t context_tokens = 0;   // a sequence's limit: prompt and answer
  uint32_t context_max = 0;      // what the model was made for
  uint32_t sequences_max = 0;    // that run at once
  uint32_t embedding_width = 0;  // 0: embeddings were not asked for
  uint64_t weight_bytes = 0;     // of all tensors
  uint64_t decode_weight_bytes =
      0;  // of those a decode step reads whole (an embedding table is only looked up)
  uint64_t decode_expert_bytes = 0;  // of them, of the experts that one token is sent to
  // Of a token in the weights' matrices, those of its experts only; attention's own are not in it.
  uint64_t token_multiply_adds = 0;
  uint64_t logits_multiply_adds = 0;  // more where its logits are wanted
  std::vector<MatrixWork> matrices;   // what those two are sums of
  AttentionWork attention;
  uint32_t step_tokens_max = 0;  // a prompt's chunks
  uint64_t kv_bytes_per_token = 0;
  double load_seconds = 0;
  std::vector<std::string> warnings;
};

enum class FinishReason : uint8_t {
  kEndToken,  // the model ended its answer
  kStopped,   // the sink asked for it (a stop string)
  kMaxTokens,
  kContextFull,
  kCancelled,
  kFailed,  // a step failed: `error` says why
};
inline constexpr size_t kFinishReasons = 6;

struct Usage {
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;    // of the prompt, found in the cache from earlier requests
  uint32_t answer_tokens = 0;    // all that were generated, thinking and end token included
  uint32_t drafted_tokens = 0;   // guesses that steps computed
  uint32_t accepted_tokens = 0;  // of them, were right: so many steps fewer than answer tokens
  double queue_seconds = 0;      // until its first step, part of prompt_seconds
  double prompt_seconds = 0;     // until the first token
  double decode_seconds = 0;     // from the first token to the last
};

// What a reader of the stream wants next.
struct TokenDecision {
  bool stop = false;
  std::vector<TokenId>
      force;  // the next tokens, in place of sampled ones (a thinking budget's end); usually empty
};

struct TokenProbability {
  TokenId token = 0;
  float log_probability = 0;  // natural logarithm; -infinity is possible
};

// Of one place of the answer: the model's own distribution over the whole vocabulary, before bias,
// penalties, temperature and mask.
struct LogProbabilities {
  TokenProbability chosen;
  std::span<const TokenProbability> top;  // likeliest first, equal ones by their number
};

class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // Of a request for an embedding, and right before its on_finish(kEndToken): the mean over the
  // prompt's tokens of their hidden states behind the last norm, [EngineInfo::embedding_width], not
  // normalised. The view is good during the call.
  virtual void on_embedding(std::span<const float>) {}
  // Of the prompt's tokens from the second on (nothing foretells the first), in their order and
  // before the answer's first token, where the request asked for them. The view is good during the
  // call.
  virtual void on_prompt_log_probabilities(const LogProbabilities&) {}
  // Right before the on_token() of the same token, where the request asked for it. Not of forced
  // tokens, which nobody drew. The view is good during the call.
  virtual void on_log_probabilities(const LogProbabilities&) {}
  // Every token but the end token, in order, forced ones too.
  virtual TokenDecision on_token(TokenId token) = 0;
  // Exactly once; the sink is not called again.
  virtual void on_finish(FinishReason reason, const Usage& usage, std::string_view error) = 0;
};

using RequestId = uint64_t;

struct Request {
  static constexpr uint32_t kTopLogProbabilitiesMost = 20;

  std::vector<TokenId> prompt;  // not empty
  SamplingOptions sampling;
  uint32_t max_tokens = 0;          // 0: until the context is full
  std::vector<TokenId> end_tokens;  // any of these ends the answer
  std::shared_ptr<TokenSink> sink;

  // Added to the logits of these tokens, once each time one is named; Sampler::check_bias.
  std::vector<LogitBias> logit_bias;
  // With each drawn token its log probability, and those of so many of the likeliest, at most
  // kTopLogProbabilitiesMost. None: no log probabilities.
  std::optional<uint32_t> top_log_probabilities;
  // Those of the prompt's tokens, too; with top_log_probabilities alone. Then all of the prompt is
  // computed, in chunks as long as a step has rows of logits, whatever the cache knows of it.
  bool prompt_log_probabilities = false;
  // No answer: it ends with kMaxTokens once the prompt is computed.
  bool prompt_only = false;
  // What the answer may be made of; null: anything. Its own of this request, at its beginning. End
  // tokens are allowed where it may end, and nowhere else.
  std::shared_ptr<TokenMask> mask;
  // Prefixes are found in the cache only of requests with the same salt: who guesses another's
  // prompt cannot tell from the time it takes. A secret a group of users; 0: shared by all.
  uint64_t cache_salt = 0;
  // Whose request it is. Requests of different keys are begun in turn, those of one key in the
  // order they came (Scheduler).
  uint64_t fairness_key = 0;
  // No answer: TokenSink::on_embedding. EngineOptions::embeddings must be set.
  bool embedding = false;
};

enum class RefusalKind : uint8_t {
  kInvalid,  // something in the request is not as it must be
  kPromptTooLong,
  kQueueFull,  // may be sent again later
  kNoMemory,   // the same
  kClosed,     // the device or the file has failed: this engine takes no more
};
struct Refusal : Error {
  RefusalKind kind = RefusalKind::kInvalid;
};

// How things stand behind the last step. Counters grow from the engine's opening on.
struct EngineStatus {
  uint32_t running = 0, waiting = 0;  // requests; those not yet seen by a step wait
  uint32_t blocks_held = 0;           // of the cache, by those that run
  uint32_t blocks_cached = 0;         // prefixes that later requests may find
  uint32_t blocks_total = 0;
  uint32_t block_tokens = 0;
  uint64_t preemptions = 0;  // requests sent back for lack of blocks, to be computed again
  uint64_t steps = 0;
  uint64_t step_tokens = 0;     // sum over the steps: computed, drafts included
  uint64_t step_sequences = 0;  // sum over the steps: the mean batch is this by steps
  double step_seconds = 0;      // sum
  uint32_t last_step_tokens = 0, last_step_sequences = 0;
  double last_step_seconds = 0;
  // Of requests, added as they begin to run (prompts) and as tokens come (answers).
  uint64_t prompt_tokens = 0, cached_tokens = 0, answer_tokens = 0;
  uint64_t drafted_tokens = 0, accepted_tokens = 0;
  uint64_t requests_accepted = 0;
  std::array<uint64_t, kFinishReasons> requests_finished = {};  // by FinishReason
};

class Engine {
 public:
  static constexpr uint32_t kStepTokensMost = 65536;
  static constexpr double kTargetItlMsMost = 60'000;
  static constexpr uint32_t kContextTokensLeast = 2;  // a prompt and an answer

  // Refuses before loading what cannot fit (plan/placement's figures). `devices`: one or more, the
  // first is the main one.
  static Result<std::unique_ptr<Engine>> open(std::shared_ptr<const ModelFile> file,
                                              std::vector<std::unique_ptr<Device>> devices,
                                              const EngineOptions& options);
  ~Engine();

  const EngineInfo& info() const;
  std::span<const std::unique_ptr<Device>> devices() const;

  // Errors: an empty prompt, a token outside the vocabulary, a prompt that does not fit the context
  // (both numbers), bad sampling options or biases, too many requests waiting. Converts to
  // Result<RequestId> where the kind does not matter.
  tl::expected<RequestId, Refusal> submit(Request request);
  // Ends it before the next step: the step that runs may still give it a token. Unknown ids are
  // ignored: the request may just have ended.
  void cancel(RequestId id);
  EngineStatus status() const;

  // One model step for whoever waits. False: there was nothing to do. An error means that the
  // device or the file failed: all requests have been finished with kFailed, and the engine can be
  // used no more.
  Result<bool> step();

  // Logits of every position of `tokens` from first_position on, a sequence of its own from
  // position 0 (at most context_tokens): the yardstick of eval. sink(position, logits
  // [vocabulary]); returning false ends it. Not while requests run.
  Status score(std::span<const TokenId> tokens,
               const std::function<bool(uint32_t position, std::span<const float> logits)>& sink,
               uint32_t first_position = 0);

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hadal
