// Does one ChatJob: gets the model, renders and tokenizes, submits as many answers as were asked
// for, and tells a reader what happens. The same for all dialects.
//
// Threads: start(), cancel() and cut_off() from any. The reader is called from several threads,
// never from two at once: on a worker until on_start, then on the model's engine thread. Its calls
// should take microseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/chat/chat_job.h"
#include "server/chat/prompt_echo.h"
#include "server/models/model_pool.h"
#include "server/request_error.h"
#include "text/tool_calls.h"

namespace hadal {

struct ChatStart {
  std::string model;
  uint32_t prompt_tokens = 0;            // of all prompts
  std::vector<std::string> echoed = {};  // by prompt, where the job asks for it
};

struct ChatLogprob {
  std::string bytes;  // of the token; may be part of a character
  float log_probability = 0;
};
struct ChatTokenLogprobs {
  ChatLogprob chosen;
  std::vector<ChatLogprob> top;  // likeliest first
  size_t characters = 0;         // of the text, that begin in it
  bool foretold = true;          // false: a text's first token, of which nothing says how likely
};

// A piece of one choice's answer. Texts are whole UTF-8 characters.
struct ChatDelta {
  std::string thinking, text;
  std::vector<ToolCall> calls;
  std::vector<ChatTokenLogprobs> prompt_logprobs;  // before all else of the choice
  std::vector<ChatTokenLogprobs> logprobs;  // of tokens whose text is in this piece or comes soon

  bool empty() const {
    return thinking.empty() && text.empty() && calls.empty() && prompt_logprobs.empty() &&
           logprobs.empty();
  }
};

enum class ChatFinish : uint8_t {
  kStop,      // the model ended its answer
  kStopText,  // a stop string was met
  kLength,    // max_tokens, or the context is full
  kToolCalls,
};

struct ChatUsage {
  uint32_t prompt_tokens = 0, cached_tokens = 0;  // of all prompts, once each
  uint32_t answer_tokens = 0;                     // of all choices, thinking included
  uint32_t thinking_tokens = 0;                   // of them
  double prompt_seconds = 0, decode_seconds = 0;  // of the slowest choice
};

// choice: of a job with several prompts those of each follow those of the one before. Calls come in
// this order: on_start; deltas; on_finish once a choice; on_end. Or on_error at any
// time, as the last. After cancel() calls may stop.
class ChatReader {
 public:
  virtual ~ChatReader() = default;
  virtual void on_start(const ChatStart& start) = 0;
  virtual bool on_delta(uint32_t choice, const ChatDelta& delta) = 0;  // false: nobody reads
  virtual void on_finish(uint32_t choice, ChatFinish finish, const std::string& stop_text) = 0;
  virtual void on_end(const ChatUsage& usage) = 0;
  virtual void on_error(const RequestError& error) = 0;
};

class ChatRun : public std::enable_shared_from_this<ChatRun> {
 public:
  // pool outlives the run.
  static std::shared_ptr<ChatRun> start(ModelPool& pool, ChatJob job,
                                        std::shared_ptr<ChatReader> reader);
  void cancel();
  void cut_off();  // the server ends: as cancel(), but the reader is told

 private:
  class ChoiceSink;
  ChatRun(ChatJob job, std::shared_ptr<ChatReader> reader);

  void begin(RequestResult<ModelLease> lease);
  // A prompt and what its answers are held to.
  struct Question {
    Prompt prompt;
    std::optional<PromptEcho> echo;
    uint32_t max_tokens = 0;
    std::vector<std::shared_ptr<TokenMask>> masks;  // one an answer
  };

  RequestResult<void> submit_all();
  RequestResult<void> check_scores(const std::vector<Question>& questions) const;
  RequestResult<void> submit(Question& question, GenerationOptions options, uint32_t first_choice);
  RequestResult<Question> make_question(size_t index);
  RequestResult<std::shared_ptr<TokenMask>> make_mask();
  bool must_call() const { return job_.tool_choice != ChatJob::ToolChoice::kAuto; }
  bool tell_delta(uint32_t choice, const ChatDelta& delta);
  void tell_finish(uint32_t choice, const Answer& answer, size_t calls);
  void tell_error(const RequestError& error);  // as the last
  void fail_all(const RequestError& error);    // and the other choices end

  ChatJob job_;
  ModelLease lease_;
  QueuePlaces places_;

  std::mutex mutex_;  // guards the reader's calls and what follows
  std::shared_ptr<ChatReader> reader_;
  std::vector<RequestId> requests_;
  uint32_t choices_left_ = 0;
  std::vector<uint32_t> cached_tokens_;  // by prompt
  ChatUsage usage_;
  bool over_ = false;  // the reader has heard its last call, or nobody listens
};

}  // namespace hadal
