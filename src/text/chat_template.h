// A model's chat template: the small program in the Jinja language, shipped in the model's file,
// that turns a conversation into the exact prompt the model was trained on.
//
//   HADAL_TRY(auto chat, ChatTemplate::parse(source));
//   HADAL_TRY(RenderedPrompt prompt, chat.render({.messages = &messages, .special_tokens =
//   {{"bos_token", "<s>"}}})); tokenizer.encode(prompt.pieces);
//
// The result is byte for byte what Hugging Face's apply_chat_template gives: jinja2's
// ImmutableSandboxedEnvironment with trim_blocks, lstrip_blocks, the loop controls, `{% generation
// %}`, raise_exception, strftime_now and its own tojson
// (https://huggingface.co/docs/transformers/chat_templating,
// https://jinja.palletsprojects.com/templates/). Beyond it there is one filter more, from_json,
// that some DeepSeek templates use on tool arguments. What is not supported, because it needs files
// or more than 64-bit integers, is refused with a sentence.
//
// A template is hostile until proven otherwise. It can read nothing but its inputs, and time,
// memory, nesting and output are bounded (TemplateLimits); the worst template ends in an Error
// within seconds.
//
// Trust. Each piece of the result says who wrote it: the template and the tokenizer's own files
// (`special` true: special tokens are read in it), or messages, tools and other inputs (`special`
// false: "<|im_end|>" in a user's text is just text). The mark follows every byte through every
// operation of the template. Numbers, true, false and none print as trusted text; tojson and other
// text made from a whole value is trusted only if all strings in it are. A message's "role" is
// trusted if it is one of the usual words, since templates build control tokens from it.
//
// A ChatTemplate is immutable after parse and may be used from several threads at once.
#pragma once

#include <cstddef>
#include <ctime>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/text_piece.h"

namespace hadal {

namespace jinja {
class Program;
}

struct TemplateLimits {
  size_t source_bytes_max = 256 << 10;  // the largest templates in use have some 30 KB
  size_t nesting_max = 100;             // brackets and blocks inside one another, in the source
  size_t steps_max = 20'000'000;        // about two seconds of work
  size_t depth_max = 400;               // expressions and calls inside one another, while it runs
  size_t value_depth_max = 100;         // lists in lists in lists
  size_t memory_bytes_max = 256 << 20;  // of values alive at one time, inputs not counted
  size_t output_bytes_max = 64 << 20;
};

// What a template can see. The pointers need to live only as long as the call; null means none.
struct TemplateInputs {
  const nlohmann::ordered_json* messages = nullptr;  // array of {"role": ..., "content": ..., ...}
  const nlohmann::ordered_json* tools =
      nullptr;  // array of {"type": "function", "function": {...}}
  const nlohmann::ordered_json* documents = nullptr;
  // Object of further variables by name (enable_thinking, thinking, custom ones): untrusted text,
  // like messages.
  const nlohmann::ordered_json* variables = nullptr;
  // "bos_token", "eos_token", ... as the tokenizer's files name them: trusted text.
  std::vector<std::pair<std::string, std::string>> special_tokens;
  bool add_generation_prompt = true;
  std::optional<std::tm>
      local_time;  // for strftime_now; a template that asks for it without is refused
};

struct RenderedPrompt {
  std::vector<TextPiece> pieces;  // neighbours differ in `special`; none is empty

  std::string text() const;
  // Whether the model's answer begins inside a thinking part: the prompt's own text ends with an
  // open "<think>".
  bool opens_thinking() const;
};

class ChatTemplate {
 public:
  // The error names the line. The limits hold for this template's renderings, too.
  static Result<ChatTemplate> parse(std::string_view source, const TemplateLimits& limits = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Errors: what the template itself raises (raise_exception), an operation that its inputs do not
  // allow, a limit.
  Result<RenderedPrompt> render(const TemplateInputs& inputs) const;

  // Whether the template reads the variable anywhere ("enable_thinking", "tools"): what a front end
  // may offer.
  bool reads_variable(std::string_view name) const;

 private:
  explicit ChatTemplate(std::unique_ptr<const jinja::Program> program,
                        const TemplateLimits& limits);

  std::unique_ptr<const jinja::Program> program_;
  TemplateLimits limits_;
};

}  // namespace hadal
