#include "server/dialects/openai_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "server/chat/fields.h"
#include "server/chat/json_text.h"
#include "server/dialects/openai_messages.h"
#include "server/dialects/openai_texts.h"
#include "server/dialects/openai_tools.h"

namespace hadal {
namespace {

using Set = RequestResult<void> (*)(OpenAiRequest&, const Json&);
using OpenAiField = Field<OpenAiRequest>;

constexpr ChatLimits kLimits;
constexpr double kTokensMax = 1 << 24;
constexpr double kSeedMost = 9007199254740991.0;  // below 2^53: exact as a double

template <auto Member>
RequestResult<void> set_number(OpenAiRequest& request, const Json& value) {
  request.job.*Member = value.get<double>();
  return {};
}
template <auto Member>
RequestResult<void> set_whole(OpenAiRequest& request, const Json& value) {
  request.job.*Member = static_cast<uint32_t>(value.get<double>());
  return {};
}
template <auto Member>
RequestResult<void> set_flag(OpenAiRequest& request, const Json& value) {
  request.*Member = value.get<bool>();
  return {};
}

RequestResult<void> set_model(OpenAiRequest& request, const Json& value) {
  request.job.model = value.get<std::string>();
  return {};
}

// OpenAI's seeds may be negative.
RequestResult<void> set_seed(OpenAiRequest& request, const Json& value) {
  request.job.seed = static_cast<uint64_t>(static_cast<int64_t>(value.get<double>()));
  return {};
}

RequestResult<void> set_stop(OpenAiRequest& request, const Json& value) {
  const auto wrong = [] {
    return refuse_field(ErrorKind::kInvalid, "stop",
                        fmt::format("stop must be a string or a list of 1 to {} strings, each of "
                                    "1 to {} bytes",
                                    kLimits.stop_strings_max, kLimits.stop_string_bytes_max));
  };
  const Json list = value.is_array() ? value : Json::array({value});
  if (list.size() > kLimits.stop_strings_max) return wrong();
  for (const Json& entry : list) {
    if (!entry.is_string()) return wrong();
    const auto& text = entry.get_ref<const std::string&>();
    if (text.empty() || text.size() > kLimits.stop_string_bytes_max) return wrong();
    request.job.stop.push_back(text);
  }
  return {};
}

RequestResult<void> set_logit_bias(OpenAiRequest& request, const Json& value) {
  const auto wrong = [](std::string_view why) {
    return refuse_field(ErrorKind::kInvalid, "logit_bias", fmt::format("logit_bias {}", why));
  };
  if (value.size() > kLimits.logit_biases_max) return wrong("has too many tokens");
  for (const auto& [token, bias] : value.items()) {
    TokenId id = 0;
    const char* const end = token.data() + token.size();
    const auto [stopped, error] = std::from_chars(token.data(), end, id);
    if (error != std::errc() || stopped != end || id < 0) {
      return wrong("must map token numbers to biases");
    }
    const double number = bias.is_number() ? bias.get<double>() : NAN;
    if (!(number >= -100 && number <= 100)) return wrong("has a bias that is not from -100 to 100");
    request.job.logit_bias.push_back({id, static_cast<float>(number)});
  }
  return {};
}

RequestResult<void> set_tools(OpenAiRequest& request, const Json& value) {
  request.tools = value;
  return {};
}
RequestResult<void> set_tool_choice(OpenAiRequest& request, const Json& value) {
  request.tool_choice = value;
  return {};
}
RequestResult<void> set_parallel_calls(OpenAiRequest& request, const Json& value) {
  request.job.one_call_only = !value.get<bool>();
  return {};
}
RequestResult<void> set_response_format(OpenAiRequest& request, const Json& value) {
  return read_response_format(value, request.job);
}

// One switch by many names; of two that differ nobody can tell which one is meant.
RequestResult<void> switch_thinking(OpenAiRequest& request, bool on, const char* field) {
  ChatJob& job = request.job;
  const Thinking wanted = on ? Thinking::kOn : Thinking::kOff;
  if (job.thinking != Thinking::kModelDefault && job.thinking != wanted) {
    return refuse_field(ErrorKind::kInvalid, field,
                        fmt::format("{} and {} both say whether to think, and say two different "
                                    "things: send one of them",
                                    job.thinking_field, field));
  }
  job.thinking = wanted;
  job.thinking_field = field;
  return {};
}
RequestResult<void> set_budget(OpenAiRequest& request, const Json& value, const char* field) {
  const auto tokens = static_cast<uint32_t>(value.get<double>());
  if (request.job.thinking_budget.value_or(tokens) != tokens) {
    return refuse_field(ErrorKind::kInvalid, field,
                        "thinking_budget and thinking.budget_tokens are two names of one limit, "
                        "and say two different things: send one of them");
  }
  request.job.thinking_budget = tokens;
  return {};
}
template <const char* const* Name>
RequestResult<void> set_thinking_flag(OpenAiRequest& request, const Json& value) {
  return switch_thinking(request, value.get<bool>(), *Name);
}
constexpr const char* kEnableThinking = "enable_thinking";
constexpr const char* kTemplateEnableThinking = "chat_template_kwargs.enable_thinking";
constexpr const char* kTemplateThinking = "chat_template_kwargs.thinking";
constexpr OpenAiField kTemplateVariables[] = {
    {{"enable_thinking", FieldType::kBoolean}, set_thinking_flag<&kTemplateEnableThinking>},
    {{"thinking", FieldType::kBoolean}, set_thinking_flag<&kTemplateThinking>},
};
RequestResult<void> set_template_variables(OpenAiRequest& request, const Json& value) {
  return read_fields<OpenAiRequest>(value, kTemplateVariables, request, "chat_template_kwargs");
}

// An effort is a budget of thinking.
RequestResult<void> set_reasoning_effort(OpenAiRequest& request, const Json& value) {
  static constexpr struct {
    std::string_view name;
    bool on;
    uint32_t budget;  // 0: none
  } kEfforts[] = {{"none", false, 0},     {"minimal", true, 256}, {"low", true, 1024},
                  {"medium", true, 8192}, {"high", true, 0},      {"xhigh", true, 0}};
  for (const auto& effort : kEfforts) {
    if (value != effort.name) continue;
    if (effort.budget > 0) request.effort_budget = effort.budget;
    return switch_thinking(request, effort.on, "reasoning_effort");
  }
  return refuse_field(ErrorKind::kInvalid, "reasoning_effort",
                      "reasoning_effort must be none, minimal, low, medium, high or xhigh");
}

// DeepSeek's switch: {"type": "enabled"}; with Anthropic's budget.
RequestResult<void> set_thinking_type(OpenAiRequest& request, const Json& value) {
  if (value != "enabled" && value != "disabled") {
    return refuse_field(ErrorKind::kInvalid, "thinking.type",
                        "thinking.type must be enabled or disabled");
  }
  return switch_thinking(request, value == "enabled", "thinking");
}
RequestResult<void> set_thinking_budget(OpenAiRequest& request, const Json& value) {
  return set_budget(request, value, "thinking_budget");
}
RequestResult<void> set_budget_tokens(OpenAiRequest& request, const Json& value) {
  return set_budget(request, value, "thinking.budget_tokens");
}
constexpr OpenAiField kThinkingFields[] = {
    {{"type", FieldType::kText, 0, 64, "OpenAiThinkingType"}, set_thinking_type},
    {{"budget_tokens", FieldType::kWhole, 0, kTokensMax}, set_budget_tokens},
};
RequestResult<void> set_thinking(OpenAiRequest& request, const Json& value) {
  return read_fields<OpenAiRequest>(value, kThinkingFields, request, "thinking");
}

RequestResult<void> set_completion_logprobs(OpenAiRequest& request, const Json& value) {
  request.logprobs = true;
  request.job.top_logprobs = static_cast<uint32_t>(value.get<double>());
  return {};
}
RequestResult<void> set_top_logprobs(OpenAiRequest& request, const Json& value) {
  request.job.top_logprobs = static_cast<uint32_t>(value.get<double>());
  return {};
}
RequestResult<void> set_ignore_end(OpenAiRequest& request, const Json& value) {
  request.job.ignore_end = value.get<bool>();
  return {};
}

constexpr OpenAiField kStreamFields[] = {
    {{"include_usage", FieldType::kBoolean}, set_flag<&OpenAiRequest::include_usage>},
    {{"include_obfuscation", FieldType::kBoolean}},  // lengths on a loopback tell nobody anything
};
RequestResult<void> set_stream_options(OpenAiRequest& request, const Json& value) {
  return read_fields<OpenAiRequest>(value, kStreamFields, request, "stream_options");
}

RequestResult<void> set_messages(OpenAiRequest& request, const Json& value) {
  auto messages = read_openai_messages(value);
  if (!messages) return tl::unexpected(messages.error());
  request.job.messages = std::move(*messages);
  return {};
}

RequestResult<void> set_prompt(OpenAiRequest& request, const Json& value) {
  auto prompts = read_texts(value, "prompt", kLimits.prompts_max);
  if (!prompts) return tl::unexpected(prompts.error());
  request.job.prompts = std::move(*prompts);
  return {};
}

// One limit by two names; which of two different ones is meant, nobody can tell.
RequestResult<void> set_max_tokens(OpenAiRequest& request, const Json& value) {
  const auto tokens = static_cast<uint32_t>(value.get<double>());
  if (request.job.max_tokens != 0 && request.job.max_tokens != tokens) {
    return refuse_field(ErrorKind::kInvalid, "max_tokens",
                        "max_tokens and max_completion_tokens are two names of one limit, and say "
                        "two different things: send one of them");
  }
  request.job.max_tokens = tokens;
  return {};
}

// None at all: the prompt's own log probabilities are what is wanted, as a rule.
RequestResult<void> set_completion_max_tokens(OpenAiRequest& request, const Json& value) {
  request.job.max_tokens = static_cast<uint32_t>(value.get<double>());
  request.job.prompt_only = request.job.max_tokens == 0;
  return {};
}
RequestResult<void> set_echo(OpenAiRequest& request, const Json& value) {
  request.job.echo = value.get<bool>();
  return {};
}

// Fields that only some values of can be honoured.
RequestResult<void> refuse_storing(OpenAiRequest&, const Json& value) {
  if (!value.get<bool>()) return {};
  return refuse_field(ErrorKind::kUnsupported, "store", "store: this server keeps no answers");
}
RequestResult<void> text_only(OpenAiRequest&, const Json& value) {
  if (value == Json::array({"text"})) return {};
  return refuse_field(ErrorKind::kUnsupported, "modalities", "modalities: only text can be had");
}

// What chat and completions share.
constexpr std::array kSharedFields = std::to_array<OpenAiField>({
    {{"model", FieldType::kText, 0, kLimits.model_name_bytes_max}, set_model},
    {{"stream", FieldType::kBoolean}, set_flag<&OpenAiRequest::stream>},
    {{"stream_options", FieldType::kObject, 0, 0, "OpenAiStreamOptions"}, set_stream_options},
    {{"n", FieldType::kWhole, 1, kLimits.choices_max}, set_whole<&ChatJob::choices>},
    {{"seed", FieldType::kWhole, -kSeedMost, kSeedMost}, set_seed},
    {{"stop", FieldType::kAny, 0, 0, "StopStrings"}, set_stop},
    {{"temperature", FieldType::kNumber, 0, 2}, set_number<&ChatJob::temperature>},
    {{"top_p", FieldType::kNumber, 0.0001, 1}, set_number<&ChatJob::top_p>},
    {{"top_k", FieldType::kWhole, 0, 1e6}, set_whole<&ChatJob::top_k>},
    {{"min_p", FieldType::kNumber, 0, 0.999}, set_number<&ChatJob::min_p>},
    {{"repetition_penalty", FieldType::kNumber, 0.01, 100},
     set_number<&ChatJob::repetition_penalty>},
    {{"presence_penalty", FieldType::kNumber, -2, 2}, set_number<&ChatJob::presence_penalty>},
    {{"frequency_penalty", FieldType::kNumber, -2, 2}, set_number<&ChatJob::frequency_penalty>},
    {{"logit_bias", FieldType::kObject, 0, 0, "OpenAiLogitBias"}, set_logit_bias},
    {{"ignore_eos", FieldType::kBoolean}, set_ignore_end},
    {{"user", FieldType::kText, 0, 1024}},
});

constexpr std::array kChatOnly = std::to_array<OpenAiField>({
    {{"messages", FieldType::kList, 1, kLimits.messages_max, "OpenAiMessage"}, set_messages},
    {{"max_tokens", FieldType::kWhole, 1, kTokensMax}, set_max_tokens},
    {{"max_completion_tokens", FieldType::kWhole, 1, kTokensMax}, set_max_tokens},
    {{"tools", FieldType::kList, 0, kLimits.tools_max, "OpenAiTool"}, set_tools},
    {{"tool_choice", FieldType::kAny, 0, 0, "OpenAiToolChoice"}, set_tool_choice},
    {{"parallel_tool_calls", FieldType::kBoolean}, set_parallel_calls},
    {{"response_format", FieldType::kObject, 0, 0, "OpenAiResponseFormat"}, set_response_format},
    {{"logprobs", FieldType::kBoolean}, set_flag<&OpenAiRequest::logprobs>},
    {{"top_logprobs", FieldType::kWhole, 0, kLimits.top_logprobs_max}, set_top_logprobs},
    {{"reasoning_effort", FieldType::kText, 0, 64, "Effort"}, set_reasoning_effort},
    {{"thinking", FieldType::kObject, 0, 0, "OpenAiThinking"}, set_thinking},
    {{"thinking_budget", FieldType::kWhole, 0, kTokensMax}, set_thinking_budget},
    {{"enable_thinking", FieldType::kBoolean}, set_thinking_flag<&kEnableThinking>},
    {{"chat_template_kwargs", FieldType::kObject, 0, 0, "OpenAiTemplateVariables"},
     set_template_variables},
    {{"store", FieldType::kBoolean, 0, 0, "False"}, refuse_storing},
    {{"modalities", FieldType::kList, 1, 1, "TextModality"}, text_only},
    {{"metadata", FieldType::kObject}},
    {{"safety_identifier", FieldType::kText, 0, 1024}},
    {{"prompt_cache_key", FieldType::kText, 0, 1024}},
    {{"service_tier", FieldType::kText, 0, 64}},
});

constexpr std::array kCompletionOnly = std::to_array<OpenAiField>({
    {{"prompt", FieldType::kAny, 0, 0, "OpenAiPrompt"}, set_prompt},
    {{"max_tokens", FieldType::kWhole, 0, kTokensMax}, set_completion_max_tokens},
    {{"echo", FieldType::kBoolean}, set_echo},
    {{"logprobs", FieldType::kWhole, 0, 5}, set_completion_logprobs},
    {{"best_of", FieldType::kWhole, 1, 1}},
});

template <size_t A, size_t B>
constexpr std::array<OpenAiField, A + B> joined(const std::array<OpenAiField, A>& first,
                                                const std::array<OpenAiField, B>& second) {
  std::array<OpenAiField, A + B> all;
  std::ranges::copy(first, all.begin());
  std::ranges::copy(second, all.begin() + A);
  return all;
}
constexpr auto kChatFields = joined(kSharedFields, kChatOnly);
constexpr auto kCompletionFields = joined(kSharedFields, kCompletionOnly);

RequestResult<OpenAiRequest> read(std::string_view body, bool chat,
                                  std::span<const OpenAiField> fields) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  OpenAiRequest request{.chat = chat};
  if (auto result = read_fields<OpenAiRequest>(*object, fields, request); !result) {
    return tl::unexpected(result.error());
  }
  return request;
}

}  // namespace

std::vector<FieldForm> openai_forms() {
  std::vector<FieldForm> forms = {
      field_form("OpenAiChatRequest", kChatFields, {"messages"}),
      field_form("OpenAiCompletionRequest", kCompletionFields, {"prompt"}),
      field_form("OpenAiStreamOptions", kStreamFields),
      field_form("OpenAiThinking", kThinkingFields),
      field_form("OpenAiTemplateVariables", kTemplateVariables),
  };
  append_openai_message_forms(forms);
  append_openai_tool_forms(forms);
  return forms;
}

RequestResult<OpenAiRequest> read_openai_chat(std::string_view body) {
  auto request = read(body, true, kChatFields);
  if (!request) return request;
  ChatJob& job = request->job;
  if (!job.messages) {
    return refuse_field(ErrorKind::kInvalid, "messages", "the request has no messages");
  }
  if (!job.thinking_budget) job.thinking_budget = request->effort_budget;
  if (request->logprobs) {
    job.top_logprobs = job.top_logprobs.value_or(0);
  } else if (job.top_logprobs) {
    return refuse_field(ErrorKind::kInvalid, "top_logprobs", "top_logprobs needs logprobs: true");
  }
  if (request->tools.is_array()) {
    if (auto tools = read_tools(request->tools, job); !tools) return tl::unexpected(tools.error());
  }
  if (!request->tool_choice.is_null()) {
    if (auto choice = read_tool_choice(request->tool_choice, job); !choice) {
      return tl::unexpected(choice.error());
    }
  }
  if (!job.schema.empty() && job.tools.is_array()) {
    return refuse_field(ErrorKind::kUnsupported, "response_format",
                        "response_format cannot be honoured together with tools");
  }
  return request;
}

RequestResult<OpenAiRequest> read_openai_completion(std::string_view body) {
  auto request = read(body, false, kCompletionFields);
  if (!request) return request;
  if (request->job.prompts.empty()) {
    return refuse_field(ErrorKind::kInvalid, "prompt", "the request has no prompt");
  }
  request->job.parse_thinking = false;
  return request;
}

}  // namespace hadal
