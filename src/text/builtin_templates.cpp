#include "text/builtin_templates.h"

#include <algorithm>
#include <initializer_list>

namespace hadal {
namespace {

// The templates strip all white space around their tags, so the lines below leave none in the
// prompt.

// All system messages first, a blank line between them. ns.behind: the role of the message before.
constexpr std::string_view kSystemFirst = R"(
{{- bos_token -}}
{%- set ns = namespace(system='', behind='') -%}
{%- for message in messages if message.role == 'system' -%}
  {%- set ns.system = ns.system ~ ('\n\n' if not loop.first) ~ (message.content or '') -%}
{%- endfor -%}
{{- ns.system -}}
)";

// A call's arguments come as text or as an object.
constexpr std::string_view kArguments = R"(
{%- macro arguments(call) -%}
  {%- set given = call.function.arguments -%}
  {{- given if given is string else given|tojson -}}
{%- endmacro -%}
)";

// R1 forgets what it thought in earlier turns.
constexpr std::string_view kDeepseekR1Answer = R"(
{%- macro answer(message) -%}{{- (message.content or '').split('</think>')[-1] -}}{%- endmacro -%}
)";
constexpr std::string_view kDeepseekV3Answer = R"(
{%- macro answer(message) -%}{{- message.content or '' -}}{%- endmacro -%}
)";

// R1 and V3.
constexpr std::string_view kDeepseekMessages = R"(
{%- for message in messages -%}
  {%- if message.role == 'user' -%}
    {{- '<｜User｜>' + (message.content or '') -}}
  {%- elif message.role == 'assistant' -%}
    {{- '<｜tool▁outputs▁end｜>' if ns.behind == 'tool' else '<｜Assistant｜>' -}}
    {{- answer(message) -}}
    {%- for call in message.tool_calls or [] -%}
      {{- '<｜tool▁calls▁begin｜>' if loop.first else '\n' -}}
      {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call.function.name -}}
      {{- '\n```json\n' + arguments(call) + '\n```<｜tool▁call▁end｜>' -}}
      {{- '<｜tool▁calls▁end｜>' if loop.last -}}
    {%- endfor -%}
    {{- eos_token -}}
  {%- elif message.role == 'tool' -%}
    {{- '<｜tool▁outputs▁begin｜>' if ns.behind != 'tool' -}}
    {{- '<｜tool▁output▁begin｜>' + (message.content or '') + '<｜tool▁output▁end｜>' -}}
  {%- endif -%}
  {%- if message.role in ['user', 'assistant', 'tool'] -%}
    {%- set ns.behind = message.role -%}
  {%- endif -%}
{%- endfor -%}
{{- '<｜tool▁outputs▁end｜>' if ns.behind == 'tool' -}}
)";

constexpr std::string_view kDeepseekR1Prompt = R"(
{{- '<｜Assistant｜><think>\n' if add_generation_prompt and ns.behind != 'tool' -}}
)";
constexpr std::string_view kDeepseekV3Prompt = R"(
{{- '<｜Assistant｜>' if add_generation_prompt and ns.behind != 'tool' -}}
)";

constexpr std::string_view kDeepseekV31Tools = R"(
{%- if tools -%}
  {{- '\n\n' if ns.system -}}
  {{- '## Tools\nYou have access to the following tools:\n' -}}
  {%- for tool in tools -%}
    {{- '\n### ' + tool.function.name -}}
    {{- '\nDescription: ' ~ tool.function.description -}}
    {{- '\n\nParameters: ' + tool.function.parameters|tojson + '\n' -}}
  {%- endfor -%}
  {{- '\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n'
      '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments'
      '<｜tool▁call▁end｜>{{additional_tool_calls}}<｜tool▁calls▁end｜>\n\nWhere:\n\n'
      '- `tool_call_name` must be an exact match to one of the available tools\n'
      '- `tool_call_arguments` must be valid JSON that strictly follows the tool\'s'
      ' Parameters Schema\n'
      '- For multiple tool calls, chain them directly without separators or spaces\n' -}}
{%- endif -%}
)";

constexpr std::string_view kDeepseekV31Messages = R"(
{%- set thinks = thinking if thinking is defined else enable_thinking|default(false) -%}
{%- for message in messages -%}
  {%- if message.role == 'user' -%}
    {{- '<｜User｜>' + (message.content or '') -}}
  {%- elif message.role == 'assistant' -%}
    {%- if ns.behind == 'user' -%}
      {{- '<｜Assistant｜>' + ('<think>' if message.prefix and thinks else '</think>') -}}
    {%- endif -%}
    {{- (message.content or '').split('</think>', 1)[-1] -}}
    {%- for call in message.tool_calls or [] -%}
      {{- '<｜tool▁calls▁begin｜>' if loop.first -}}
      {{- '<｜tool▁call▁begin｜>' + call.function.name + '<｜tool▁sep｜>' -}}
      {{- arguments(call) + '<｜tool▁call▁end｜>' -}}
      {{- '<｜tool▁calls▁end｜>' if loop.last -}}
    {%- endfor -%}
    {{- eos_token -}}
  {%- elif message.role == 'tool' -%}
    {{- '<｜tool▁output▁begin｜>' + (message.content or '') + '<｜tool▁output▁end｜>' -}}
  {%- endif -%}
  {%- if message.role in ['user', 'assistant', 'tool'] -%}
    {%- set ns.behind = message.role -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and ns.behind == 'user' -%}
  {{- '<｜Assistant｜>' + ('<think>' if thinks else '</think>') -}}
{%- endif -%}
)";

constexpr std::string_view kDeepseekV2 = R"(
{{- bos_token -}}
{%- for message in messages -%}
  {%- if message.role == 'assistant' -%}
    {{- 'Assistant: ' + message.content + eos_token -}}
  {%- elif message.role in ['user', 'system'] -%}
    {{- ('User: ' if message.role == 'user' else '') + message.content + '\n\n' -}}
  {%- endif -%}
{%- endfor -%}
{{- 'Assistant:' if add_generation_prompt -}}
)";

constexpr std::string_view kDeepseekCoder = R"(
{{- bos_token -}}
{%- if not messages|selectattr('role', 'equalto', 'system')|list -%}
  {{- 'You are an AI programming assistant, utilizing the Deepseek Coder model, developed by'
      ' Deepseek Company, and you only answer questions related to computer science. For'
      ' politically sensitive questions, security and privacy issues, and other non-computer'
      ' science questions, you will refuse to answer\n' -}}
{%- endif -%}
{%- for message in messages -%}
  {%- if message.role == 'system' -%}
    {{- message.content -}}
  {%- elif message.role == 'user' -%}
    {{- '### Instruction:\n' + message.content + '\n' -}}
  {%- else -%}
    {{- '### Response:\n' + message.content + '\n<|EOT|>\n' -}}
  {%- endif -%}
{%- endfor -%}
{{- '### Response:\n' if add_generation_prompt -}}
)";

constexpr std::string_view kChatMl = R"(
{%- for message in messages -%}
  {{- '<|im_start|>' + message.role + '\n' + (message.content or '') + '<|im_end|>\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\n' if add_generation_prompt -}}
)";

constexpr std::string_view kLlama3 = R"(
{{- bos_token -}}
{%- for message in messages -%}
  {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' -}}
  {{- (message.content or '')|trim + '<|eot_id|>' -}}
{%- endfor -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' if add_generation_prompt -}}
)";

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string source;
  for (const std::string_view part : parts) source += part;
  return source;
}

std::string deepseek_r1() {
  return joined(
      {kArguments, kDeepseekR1Answer, kSystemFirst, kDeepseekMessages, kDeepseekR1Prompt});
}

std::string deepseek_v3() {
  return joined(
      {kArguments, kDeepseekV3Answer, kSystemFirst, kDeepseekMessages, kDeepseekV3Prompt});
}

std::string deepseek_v31() {
  return joined({kArguments, kSystemFirst, kDeepseekV31Tools, kDeepseekV31Messages});
}

}  // namespace

std::optional<std::string> builtin_template(const TemplateEvidence& evidence) {
  std::string name(evidence.name);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return static_cast<char>(c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  });
  const auto named = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  const auto has = [&](std::string_view token) {
    return evidence.has_token && evidence.has_token(token);
  };
  const bool marks_user = has("<｜User｜>");
  const bool deepseek = marks_user || named("deepseek") ||
                        evidence.architecture.starts_with("deepseek") ||
                        evidence.pre_tokenizer.starts_with("deepseek");
  if (deepseek) {
    const bool own_architecture =
        evidence.architecture.empty() || evidence.architecture.starts_with("deepseek");
    if (named("v3.1") || named("v3-1") || named("v3.2") || named("v3-2")) return deepseek_v31();
    if (named("r1") || named("distill")) return deepseek_r1();
    if (marks_user && !own_architecture) return deepseek_r1();  // a distill: another model's shape
    if (named("v2.5") || named("v2-5")) return deepseek_v3();
    if (named("v2")) return std::string(kDeepseekV2);
    if (named("v3") || marks_user || evidence.pre_tokenizer == "deepseek-v3") return deepseek_v3();
    if (named("coder") || evidence.pre_tokenizer == "deepseek-coder")
      return std::string(kDeepseekCoder);
    if (named("chat") || named("llm") || evidence.pre_tokenizer == "deepseek-llm") {
      return std::string(kDeepseekV2);
    }
  }
  if (has("<|im_start|>") && has("<|im_end|>")) return std::string(kChatMl);
  if (has("<|start_header_id|>") && has("<|eot_id|>")) return std::string(kLlama3);
  return std::nullopt;
}

}  // namespace hadal
