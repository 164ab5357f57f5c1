#include "server/chat/job_prompt.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "server/chat/fields.h"
#include "server/chat/tools.h"
#include "server/limits.h"

namespace hadal {

namespace {

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// A model that was not made for tools would not see them.
RequestResult<void> check_tools(const ServedModel& model, const ChatJob& job) {
  if (!job.tools.is_array()) return {};
  const std::string& source = model.generator().chat_template_source();
  const bool must_call = job.tool_choice != ChatJob::ToolChoice::kAuto;
  const bool reads_calls = must_call || ToolCallStream(source).looks_for_calls();
  if (reads_calls && source.find("tools") != std::string::npos) return {};
  return refuse_field(
      ErrorKind::kUnsupported, "tools",
      fmt::format("{} was not made for tools: its chat template knows none", model.name()));
}

// Nor would a model that knows no thinking do any; to do none is what it does.
RequestResult<void> check_thinking(const ServedModel& model, const ChatJob& job) {
  if (job.thinking != Thinking::kOn || model.generator().knows_thinking()) return {};
  return refuse_field(
      ErrorKind::kUnsupported, job.thinking_field,
      fmt::format("{} does not think: neither its chat template nor its vocabulary knows {}; "
                  "without {}, or with it switched off, it answers",
                  model.name(), "<think>", job.thinking_field));
}

}  // namespace

RequestResult<Prompt> render_prompt(const ServedModel& model, ChatJob& job, size_t index,
                                    uint32_t tokens_max) {
  if (auto checked = check_tools(model, job); !checked) return tl::unexpected(checked.error());
  if (auto checked = check_thinking(model, job); !checked) return tl::unexpected(checked.error());
  const Generator& generator = model.generator();
  if (!job.messages || (!generator.has_chat_template() && !job.prompts.empty())) {
    return prompt_of(model, job.prompts[index], "prompt", tokens_max);
  }
  shape_past_calls(*job.messages, generator.chat_template_source());
  const ChatOptions options{.thinking = job.thinking,
                            .now_seconds = now_seconds(),
                            .tools = job.tools.is_array() ? &job.tools : nullptr,
                            .tokens_max = tokens_max};
  auto prompt = generator.chat_prompt(*job.messages, options);
  if (!prompt) return refuse(ErrorKind::kInvalid, "{}", prompt.error().message);
  return std::move(*prompt);
}

RequestResult<Prompt> prompt_of(const ServedModel& model, const PromptText& text, const char* field,
                                uint32_t tokens_max) {
  if (const auto* tokens = std::get_if<std::vector<TokenId>>(&text)) {
    for (const TokenId token : *tokens) {
      if (auto checked = check_token(model, token, field); !checked) {
        return tl::unexpected(checked.error());
      }
    }
    Prompt prompt;
    prompt.tokens = *tokens;
    return prompt;
  }
  auto prompt = model.generator().raw_prompt(std::get<std::string>(text), tokens_max);
  if (!prompt) return refuse(ErrorKind::kInvalid, "{}", prompt.error().message);
  return std::move(*prompt);
}

RequestResult<void> check_token(const ServedModel& model, TokenId token, const char* field) {
  const uint32_t vocabulary = model.engine().info().vocabulary;
  if (token >= 0 && static_cast<uint32_t>(token) < vocabulary) return {};
  return refuse_field(ErrorKind::kInvalid, field,
                      fmt::format("{} has a token {}, but the model's vocabulary has {}", field,
                                  token, vocabulary));
}

uint32_t tokens_counted(uint32_t context) {
  const uint64_t tokens = uint64_t{context} * ChatLimits().contexts_counted;
  return static_cast<uint32_t>(std::min<uint64_t>(tokens, UINT32_MAX - 1));
}

size_t beginning_to_count(const Tokenizer& tokenizer, std::string_view text, uint32_t tokens_max) {
  size_t fits = 0, beyond = text.size() + 1;  // the least number of tokens grows with the bytes
  while (beyond - fits > 1) {
    const size_t middle = fits + (beyond - fits) / 2;
    (tokenizer.least_tokens(middle) <= tokens_max ? fits : beyond) = middle;
  }
  if (fits == text.size()) return fits;
  while (fits > 0 && (text[fits] & 0xC0) == 0x80) --fits;  // a character stays whole
  return fits;
}

RequestResult<uint32_t> context_for(const ServedModel& model, uint32_t most) {
  const uint32_t context = model.engine().info().context_tokens;
  if (most <= context) return most == 0 ? context : most;
  return refuse_field(ErrorKind::kUnsupported, "num_ctx",
                      fmt::format("num_ctx is {}, but this server gives {} a context of {}", most,
                                  model.name(), context));
}

void with_model(ModelPool& pool, const std::string& name, ModelPool::Then then) {
  pool.acquire(name, [then = std::move(then)](RequestResult<ModelLease> lease) {
    try {
      then(std::move(lease));
    } catch (const std::bad_alloc&) {
      then(refuse(ErrorKind::kUnavailable, "there is not enough memory for this request"));
    }
  });
}

}  // namespace hadal
