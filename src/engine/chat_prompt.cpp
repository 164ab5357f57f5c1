#include "engine/chat_prompt.h"

#include <algorithm>
#include <ctime>

#include "base/json.h"

namespace hadal {

namespace {

// The names under which templates know the switch: Qwen3's and DeepSeek V3.1's.
constexpr const char* kSwitches[] = {"enable_thinking", "thinking"};

std::optional<std::tm> local_time(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm local;
  if (localtime_r(&time, &local) == nullptr) return std::nullopt;
  return local;
}

std::vector<std::pair<std::string, std::string>> special_tokens(const Tokenizer& tokenizer) {
  std::vector<std::pair<std::string, std::string>> tokens;
  if (const auto bos = tokenizer.bos()) {
    tokens.emplace_back("bos_token", tokenizer.token_bytes(*bos));
  }
  if (!tokenizer.end_tokens().empty()) {
    tokens.emplace_back("eos_token", tokenizer.token_bytes(tokenizer.end_tokens().front()));
  }
  return tokens;
}

// Words of ours behind a rendered prompt; as trusted as the template's.
void append(RenderedPrompt& prompt, std::string_view text) {
  if (!prompt.pieces.empty() && prompt.pieces.back().special) {
    prompt.pieces.back().text += text;
  } else {
    prompt.pieces.push_back({std::string(text), true});
  }
}

void open_thinking(RenderedPrompt& prompt) {
  if (prompt.opens_thinking()) return;
  append(prompt, kThinkBegin);
  append(prompt, "\n");
}

bool ends_with_closed_thinking(const RenderedPrompt& prompt) {
  if (prompt.pieces.empty() || !prompt.pieces.back().special) return false;
  std::string_view end = prompt.pieces.back().text;
  end = end.substr(0, end.find_last_not_of(" \t\r\n") + 1);
  return end.ends_with(kThinkEnd);
}

void close_thinking(RenderedPrompt& prompt) {
  if (ends_with_closed_thinking(prompt)) return;
  if (!prompt.opens_thinking()) {
    append(prompt, kThinkBegin);
    append(prompt, "\n");
  }
  append(prompt, kThinkingClose);
}

// Where the model wants it; a template that has written it already is left alone.
void add_bos(const Tokenizer& tokenizer, std::vector<TokenId>& tokens) {
  const auto bos = tokenizer.bos();
  if (!tokenizer.adds_bos() || !bos) return;
  if (tokens.empty() || tokens.front() != *bos) tokens.insert(tokens.begin(), *bos);
}

bool too_long(const Tokenizer& tokenizer, size_t bytes, uint32_t tokens_max, Prompt& prompt) {
  const uint64_t least = tokenizer.least_tokens(bytes);
  if (least > tokens_max) prompt.tokens_least = least;
  return least > tokens_max;
}

}  // namespace

Result<Prompt> make_chat_prompt(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                const nlohmann::ordered_json& messages, const ChatOptions& options,
                                bool knows_thinking) {
  nlohmann::ordered_json variables =
      options.variables != nullptr ? *options.variables : nlohmann::ordered_json::object();
  if (options.thinking != Thinking::kModelDefault) {
    for (const char* name : kSwitches) variables[name] = options.thinking == Thinking::kOn;
  }
  HADAL_TRY(RenderedPrompt rendered,
            chat_template.render({.messages = &messages,
                                  .tools = options.tools,
                                  .variables = &variables,
                                  .special_tokens = special_tokens(tokenizer),
                                  .local_time = local_time(options.now_seconds)}));
  if (knows_thinking && options.thinking == Thinking::kOn) open_thinking(rendered);
  if (knows_thinking && options.thinking == Thinking::kOff) {
    // A template with the switch has done what its model needs, unless thinking is still open.
    const bool has_switch = std::ranges::any_of(
        kSwitches, [&](const char* name) { return chat_template.reads_variable(name); });
    if (!has_switch || rendered.opens_thinking()) close_thinking(rendered);
  }
  Prompt prompt;
  size_t bytes = 0;
  for (const TextPiece& piece : rendered.pieces) bytes += piece.text.size();
  if (too_long(tokenizer, bytes, options.tokens_max, prompt)) return prompt;
  HADAL_TRY(prompt.tokens, tokenizer.encode(rendered.pieces));
  add_bos(tokenizer, prompt.tokens);
  prompt.thinking_open = rendered.opens_thinking();
  prompt.text = rendered.text();
  return prompt;
}

Result<Prompt> make_raw_prompt(const Tokenizer& tokenizer, std::string_view text,
                               uint32_t tokens_max) {
  Prompt prompt;
  if (too_long(tokenizer, text.size(), tokens_max, prompt)) return prompt;
  HADAL_TRY(prompt.tokens, tokenizer.encode(text, SpecialTokens::kAsText));
  add_bos(tokenizer, prompt.tokens);
  prompt.text = text;
  return prompt;
}

}  // namespace hadal
