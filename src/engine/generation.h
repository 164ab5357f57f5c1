// A model that talks: file, tokenizer, chat template and engine in one; from messages or text to a
// streamed answer. What `run`, `eval` and a server share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "text/text_stream.h"
#include "text/tokenizer.h"

namespace hadal {

struct GeneratorOptions {
  EngineOptions engine;
  std::optional<std::string> chat_template;  // source that replaces the model's own
};

// A model that does not know <think> (neither its template nor its vocabulary has it) is left alone
// whatever is asked.
enum class Thinking : uint8_t {
  kModelDefault,
  kOn,   // asks the template for it, and opens <think> where the template leaves that to us (R1's
         // recommendation)
  kOff,  // asks the template for none; where it knows no such switch, thinking is closed, or an
         // empty <think></think> put, before the answer
};

struct ChatOptions {
  Thinking thinking = Thinking::kModelDefault;
  int64_t now_seconds = 0;  // for templates that print the date; seconds since 1970
  // What the model may call, and further variables of the template; null: none. They outlive the
  // call that is given them.
  const nlohmann::ordered_json* tools = nullptr;      // [{"type": "function", "function": {...}}]
  const nlohmann::ordered_json* variables = nullptr;  // {"name": value}
  uint32_t tokens_max = UINT32_MAX;                   // see Prompt::tokens_least
};

struct Prompt {
  std::vector<TokenId> tokens;
  bool thinking_open = false;  // it ends inside <think>
  std::string text;            // as rendered, for --verbose and tests
  // Where the text's length alone says that it has more tokens than asked for, it is not tokenized:
  // there are no tokens and no text, but at least so many it would have. 0: it was.
  uint64_t tokens_least = 0;
};

struct GenerationOptions {
  SamplingOptions sampling;
  uint32_t max_tokens = 0;  // 0: until the context is full
  std::vector<std::string> stop;
  bool parse_thinking = true;
  std::optional<uint32_t>
      thinking_budget;      // after this many tokens of thinking, </think> is forced
  bool ignore_end = false;  // the model's end tokens end nothing: for measuring
  // As in Request. The mask holds for the answer itself: thinking is free, and cannot end it.
  std::vector<LogitBias> logit_bias;
  std::optional<uint32_t> top_log_probabilities;
  bool prompt_log_probabilities = false, prompt_only = false;
  std::shared_ptr<TokenMask> mask;
  uint64_t cache_salt = 0, fairness_key = 0;
};

struct Answer {
  std::string thinking, text;
  FinishReason reason = FinishReason::kEndToken;
  std::string stop_string;  // with kStopped
  Usage usage;
  uint32_t thinking_tokens = 0;
};

// The reader of a submitted answer. Its calls come on the engine thread.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  // As TokenSink has it.
  virtual void on_prompt_log_probabilities(const LogProbabilities&) {}
  // Of a drawn token, where asked for: before the piece it may become. thinking: it is no part of
  // the answer itself.
  virtual void on_log_probabilities(const LogProbabilities&, bool /*thinking*/) {}
  // Each piece as it becomes certain; false: no more is wanted, the answer ends as kCancelled.
  virtual bool on_delta(const TextDelta& delta) = 0;
  // Exactly once, the last call. error: what went wrong, with kFailed.
  virtual void on_finish(Answer answer, std::string_view error) = 0;
};

class Generator {
 public:
  // Errors: everything ModelFile, Tokenizer, ChatTemplate and Engine can say. A file without a
  // tokenizer opens, and only engine() serves (eval --token-ids).
  static Result<std::unique_ptr<Generator>> open(const std::filesystem::path& path,
                                                 std::vector<std::unique_ptr<Device>> devices,
                                                 const GeneratorOptions& options);
  ~Generator();

  Engine& engine();
  const ModelFile& file() const;
  const Tokenizer* tokenizer() const;               // null: the model has none
  bool has_chat_template() const;                   // its own, a built-in one or the option's
  const std::string& chat_template_source() const;  // "": there is none
  bool knows_thinking() const;                      // the template or the vocabulary has <think>
  // generation_config.json or general.sampling.* of the file, over R1's recommendation (0.6, 0.95).
  const SamplingOptions& default_sampling() const;

  // messages: [{"role": "user", "content": "..."}, ...]. The template's own words may hold special
  // tokens, the messages' never do.
  Result<Prompt> chat_prompt(const nlohmann::ordered_json& messages,
                             const ChatOptions& options) const;
  // No template; BOS where the tokenizer adds it. Special tokens are not read.
  Result<Prompt> raw_prompt(std::string_view text, uint32_t tokens_max = UINT32_MAX) const;

  // Queues an answer, from any thread; whoever drives engine().step() gives it its tokens. The
  // request can be cancelled by its id. Errors: as Engine::submit.
  tl::expected<RequestId, Refusal> submit(const Prompt& prompt, const GenerationOptions& options,
                                          std::shared_ptr<AnswerSink> sink);

  // Runs one prompt to its end on this thread. on_delta gets each piece as it becomes certain, and
  // an empty one after each step, so that a long prompt can be left too; returning false cancels.
  Result<Answer> generate(const Prompt& prompt, const GenerationOptions& options,
                          const std::function<bool(const TextDelta&)>& on_delta);

 private:
  struct State;
  explicit Generator(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hadal
