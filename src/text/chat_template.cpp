#include "text/chat_template.h"

#include <algorithm>

#include "base/json.h"
#include "text/template/jinja_budget.h"
#include "text/template/jinja_interpreter.h"
#include "text/template/jinja_syntax.h"

namespace hadal {
namespace {

using jinja::Roles;
using jinja::Text;
using jinja::Trust;
using jinja::Value;

// An input that may be missing; it is none then, as Hugging Face passes it.
Status define_json(jinja::Interpreter& interpreter, std::string_view name,
                   const nlohmann::ordered_json* json, Roles roles, size_t depth_max) {
  Value value = Value::none();
  if (json != nullptr) {
    auto read = jinja::value_from_json(nullptr, *json, roles, depth_max);
    if (!read) return fail("{}: {}", name, read.error().message);
    value = std::move(*read);
  }
  interpreter.define(name, value);
  return {};
}

Status define_inputs(jinja::Interpreter& interpreter, const TemplateInputs& inputs,
                     const TemplateLimits& limits) {
  const auto define = [&](std::string_view name, const nlohmann::ordered_json* json, Roles roles) {
    return define_json(interpreter, name, json, roles, limits.value_depth_max);
  };
  HADAL_TRY_VOID(define("messages", inputs.messages, Roles::usual_are_trusted));
  HADAL_TRY_VOID(define("tools", inputs.tools, Roles::untrusted));
  HADAL_TRY_VOID(define("documents", inputs.documents, Roles::untrusted));
  interpreter.define("add_generation_prompt", Value::boolean(inputs.add_generation_prompt));
  for (const auto& [name, token] : inputs.special_tokens) {
    HADAL_TRY(const Value value,
              jinja::make_string(nullptr, Text::trusted(jinja::valid_utf8(token))));
    interpreter.define(name, value);
  }
  if (inputs.variables != nullptr) {
    if (!inputs.variables->is_object()) return fail("the template's variables are not an object");
    for (const auto& [name, value] : inputs.variables->items()) {
      HADAL_TRY_VOID(define(name, &value, Roles::untrusted));
    }
  }
  interpreter.set_local_time(inputs.local_time);
  return {};
}

}  // namespace

std::string RenderedPrompt::text() const {
  std::string joined;
  for (const TextPiece& piece : pieces) joined += piece.text;
  return joined;
}

bool RenderedPrompt::opens_thinking() const {
  if (pieces.empty() || !pieces.back().special) return false;
  std::string_view end = pieces.back().text;
  while (end.ends_with('\n') || end.ends_with(' ')) end.remove_suffix(1);
  return end.ends_with("<think>");
}

ChatTemplate::ChatTemplate(std::unique_ptr<const jinja::Program> program,
                           const TemplateLimits& limits)
    : program_(std::move(program)), limits_(limits) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const TemplateLimits& limits) {
  auto program = jinja::Program::parse(source, limits);
  if (!program) return fail("chat template, {}", program.error().message);
  return ChatTemplate(std::make_unique<const jinja::Program>(std::move(*program)), limits);
}

Result<RenderedPrompt> ChatTemplate::render(const TemplateInputs& inputs) const {
  jinja::Budget budget(limits_);  // outlives the values it pays for
  jinja::Interpreter interpreter(*program_, budget);
  if (const Status defined = define_inputs(interpreter, inputs, limits_); !defined) {
    return fail("chat template, inputs: {}", defined.error().message);
  }
  const auto text = interpreter.run();
  if (!text) {
    return fail("chat template, line {}: {}", interpreter.line(), text.error().message);
  }
  return RenderedPrompt{.pieces = text->pieces()};
}

bool ChatTemplate::reads_variable(std::string_view name) const {
  const auto& names = program_->names;
  return std::find(names.begin() + jinja::kSpecialNames, names.end(), name) != names.end();
}

}  // namespace hadal
