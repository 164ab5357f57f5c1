#include "engine/generation.h"

#include <algorithm>

#include "base/check.h"
#include "base/json.h"
#include "engine/answer_stream.h"
#include "engine/chat_prompt.h"
#include "engine/sampling_defaults.h"
#include "engine/thinking_mask.h"
#include "text/builtin_templates.h"
#include "text/chat_template.h"

namespace hadal {

struct Generator::State {
  std::shared_ptr<const ModelFile> file;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<Result<ChatTemplate>> chat_template;  // an unreadable one is the asker's error
  std::string chat_template_source;
  bool knows_thinking = false;
  SamplingOptions default_sampling;
  std::vector<TokenId> end_tokens;
  std::vector<TokenId> thinking_close;
  std::unique_ptr<Engine> engine;

  Status open_text(const GeneratorOptions& options);
  void open_template(const GeneratorOptions& options);
  std::optional<std::string> builtin_source() const;
};

namespace {

// Whether there is a tokenizer to open: a model without one is allowed, a broken one is not.
bool carries_tokenizer(const ModelFile& file) {
  if (file.dialect() == Dialect::kGguf) return file.metadata().has("tokenizer.ggml.model");
  std::error_code ignored;
  const std::filesystem::path folder =
      std::filesystem::is_directory(file.path(), ignored) ? file.path() : file.path().parent_path();
  for (const char* name : {"tokenizer.json", "vocab.json", "encoder.json", "tokenizer.model"}) {
    if (std::filesystem::exists(folder / name, ignored)) return true;
  }
  return false;
}

// What generate() waits for.
class CallerSink : public AnswerSink {
 public:
  explicit CallerSink(const std::function<bool(const TextDelta&)>& on_delta)
      : on_delta_(on_delta) {}

  bool on_delta(const TextDelta& delta) override {
    unwanted_ = unwanted_ || (on_delta_ && !on_delta_(delta));
    return !unwanted_;
  }
  void on_finish(Answer answer, std::string_view error) override {
    answer_ = std::move(answer);
    finished_ = true;
    error_ = error;
  }

  bool finished() const { return finished_; }
  Result<Answer> take() {
    if (answer_.reason == FinishReason::kFailed) return fail("{}", error_);
    return std::move(answer_);
  }

 private:
  const std::function<bool(const TextDelta&)>& on_delta_;
  Answer answer_;
  std::string error_;
  bool unwanted_ = false, finished_ = false;
};

}  // namespace

Generator::Generator(std::unique_ptr<State> state) : state_(std::move(state)) {}
Generator::~Generator() = default;

Result<std::unique_ptr<Generator>> Generator::open(const std::filesystem::path& path,
                                                   std::vector<std::unique_ptr<Device>> devices,
                                                   const GeneratorOptions& options) {
  auto state = std::make_unique<State>();
  HADAL_TRY(state->file, ModelFile::open(path));
  if (carries_tokenizer(*state->file)) HADAL_TRY_VOID(state->open_text(options));
  state->default_sampling = sampling_defaults(state->file->metadata());
  HADAL_TRY(state->engine, Engine::open(state->file, std::move(devices), options.engine));
  return std::unique_ptr<Generator>(new Generator(std::move(state)));
}

Engine& Generator::engine() {
  return *state_->engine;
}
const ModelFile& Generator::file() const {
  return *state_->file;
}
const Tokenizer* Generator::tokenizer() const {
  return state_->tokenizer.get();
}
bool Generator::has_chat_template() const {
  return state_->chat_template.has_value();
}
const SamplingOptions& Generator::default_sampling() const {
  return state_->default_sampling;
}

const std::string& Generator::chat_template_source() const {
  return state_->chat_template_source;
}
bool Generator::knows_thinking() const {
  return state_->knows_thinking;
}

Result<Prompt> Generator::chat_prompt(const nlohmann::ordered_json& messages,
                                      const ChatOptions& options) const {
  const State& s = *state_;
  if (!s.tokenizer) return fail("{}: the model has no tokenizer", s.file->path().string());
  if (!s.chat_template) {
    return fail("{}: the model has no chat template; give one, or a raw prompt",
                s.file->path().string());
  }
  if (!*s.chat_template) return forward_error(*s.chat_template);
  return make_chat_prompt(**s.chat_template, *s.tokenizer, messages, options, s.knows_thinking);
}

Result<Prompt> Generator::raw_prompt(std::string_view text, uint32_t tokens_max) const {
  const State& s = *state_;
  if (!s.tokenizer) return fail("{}: the model has no tokenizer", s.file->path().string());
  return make_raw_prompt(*s.tokenizer, text, tokens_max);
}

tl::expected<RequestId, Refusal> Generator::submit(const Prompt& prompt,
                                                   const GenerationOptions& options,
                                                   std::shared_ptr<AnswerSink> sink) {
  State& s = *state_;
  if (!s.tokenizer) {
    return tl::unexpected(
        Refusal{{fmt::format("{}: the model has no tokenizer", s.file->path().string())}});
  }
  Request request{.prompt = prompt.tokens,
                  .sampling = options.sampling,
                  .max_tokens = options.max_tokens,
                  .end_tokens = options.ignore_end ? std::vector<TokenId>() : s.end_tokens,
                  .sink = nullptr,
                  .logit_bias = options.logit_bias,
                  .top_log_probabilities = options.top_log_probabilities,
                  .prompt_log_probabilities = options.prompt_log_probabilities,
                  .prompt_only = options.prompt_only,
                  .mask = options.mask,
                  .cache_salt = options.cache_salt,
                  .fairness_key = options.fairness_key};
  bool thinking_open = prompt.thinking_open && options.parse_thinking;
  if (thinking_open && options.thinking_budget == 0u) {
    request.prompt.insert(request.prompt.end(), s.thinking_close.begin(), s.thinking_close.end());
    thinking_open = false;
  }
  const auto stream = std::make_shared<AnswerStream>(*s.tokenizer, thinking_open, options,
                                                     s.thinking_close, std::move(sink));
  if (request.mask && thinking_open) {
    request.mask = std::make_shared<ThinkingMask>(std::move(request.mask), stream);
  }
  request.sink = stream;
  return s.engine->submit(std::move(request));
}

Result<Answer> Generator::generate(const Prompt& prompt, const GenerationOptions& options,
                                   const std::function<bool(const TextDelta&)>& on_delta) {
  Engine& engine = *state_->engine;
  const auto sink = std::make_shared<CallerSink>(on_delta);
  HADAL_TRY(const RequestId id, submit(prompt, options, sink));
  while (!sink->finished()) {
    HADAL_TRY(const bool worked, engine.step());
    CHECK(worked || sink->finished());
    if (!sink->finished() && !sink->on_delta({})) engine.cancel(id);
  }
  return sink->take();
}

Status Generator::State::open_text(const GeneratorOptions& options) {
  HADAL_TRY(tokenizer, Tokenizer::open(*file));
  end_tokens.assign(tokenizer->end_tokens().begin(), tokenizer->end_tokens().end());
  for (const TokenId token : generation_end_tokens(file->metadata())) {
    if (std::ranges::find(end_tokens, token) == end_tokens.end()) end_tokens.push_back(token);
  }
  HADAL_TRY(thinking_close, tokenizer->encode(kThinkingClose, SpecialTokens::kParsed));
  open_template(options);
  return {};
}

// The option's, else the model's own, else one of ours that what is known of the model speaks for.
void Generator::State::open_template(const GeneratorOptions& options) {
  knows_thinking = tokenizer->find(kThinkBegin).has_value();
  std::optional<std::string> source = options.chat_template;
  if (!source) {
    auto own = model_chat_template(*file);
    if (!own) {
      chat_template.emplace(forward_error(own));
      return;
    }
    source = std::move(*own);
  }
  if (!source) source = builtin_source();
  if (!source) return;
  knows_thinking = knows_thinking || source->find(kThinkEnd) != std::string::npos;
  chat_template.emplace(ChatTemplate::parse(*source));
  chat_template_source = std::move(*source);
}

std::optional<std::string> Generator::State::builtin_source() const {
  const Metadata& metadata = file->metadata();
  const std::string architecture = file->architecture().value_or("");
  // Either may be the one that tells the version.
  const std::string name = std::string(metadata.string("general.name").value_or("")) + ' ' +
                           file->path().filename().string();
  return builtin_template(
      {.architecture = architecture,
       .name = name,
       .pre_tokenizer = metadata.string("tokenizer.ggml.pre").value_or(tokenizer->pre_tokenizer()),
       .has_token = [&](std::string_view token) { return tokenizer->find(token).has_value(); }});
}

}  // namespace hadal
