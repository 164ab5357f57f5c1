#include "server/dialects/anthropic_request.h"

#include "server/chat/json_text.h"
#include "server/chat/tools.h"
#include "server/dialects/anthropic_messages.h"
#include "server/dialects/job_fields.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr ChatLimits kLimits;
constexpr double kNameBytesMost = 256;

// With what can only be read when all fields are known; the body's JSON outlives it.
struct Reading : AnthropicRequest {
  const Json* messages = nullptr;
  const Json* system = nullptr;
  const Json* tools = nullptr;
  const Json* tool_choice = nullptr;
  std::string effort;
  std::optional<uint32_t> thinking_budget;
};
using Fields = JobFields<Reading>;
using ReadingField = Field<Reading>;

RequestResult<void> set_stop(Reading& request, const Json& value) {
  return read_stop_strings(value, "stop_sequences", false, request.job);
}

RequestResult<void> set_thinking_type(Reading& request, const Json& value) {
  if (value == "enabled") {
    request.job.thinking = Thinking::kOn;
  } else if (value == "disabled") {
    request.job.thinking = Thinking::kOff;
  } else if (value != "adaptive") {  // the model's default
    return refuse_field(ErrorKind::kInvalid, "thinking.type",
                        "thinking.type must be enabled, disabled or adaptive");
  }
  return {};
}
RequestResult<void> set_thinking_budget(Reading& request, const Json& value) {
  request.thinking_budget = static_cast<uint32_t>(value.get<double>());
  return {};
}
RequestResult<void> set_display(Reading& request, const Json& value) {
  if (value != "summarized" && value != "omitted") {
    return refuse_field(ErrorKind::kInvalid, "thinking.display",
                        "thinking.display must be summarized or omitted");
  }
  request.shows_thinking = value != "omitted";
  return {};
}
constexpr ReadingField kThinkingFields[] = {
    {{"type", FieldType::kText, 1, 64, "AnthropicThinkingType"}, set_thinking_type},
    {{"budget_tokens", FieldType::kWhole, 0, kTokensFieldMost}, set_thinking_budget},
    {{"display", FieldType::kText, 1, 64, "AnthropicDisplay"}, set_display},
};
RequestResult<void> set_thinking(Reading& request, const Json& value) {
  return read_fields<Reading>(value, kThinkingFields, request, "thinking");
}

struct Form {
  std::string type;
  const Json* schema = nullptr;
};
constexpr Field<Form> kFormFields[] = {
    {{"type", FieldType::kText, 1, 64}, JobFields<Form>::text<&Form::type>},
    {{"schema", FieldType::kObject}, JobFields<Form>::later<&Form::schema>},
};
RequestResult<void> set_format(Reading& request, const Json& value) {
  const std::string path = "output_config.format";
  Form form;
  if (auto read = read_fields<Form>(value, kFormFields, form, path); !read) return read;
  if (form.type != "json_schema" || form.schema == nullptr) {
    return refuse_field(ErrorKind::kInvalid, path, path + " must be a json_schema with a schema");
  }
  request.job.schema = form.schema->dump();
  return {};
}
constexpr ReadingField kOutputFields[] = {
    {{"effort", FieldType::kText, 1, 64, "Effort"}, Fields::text<&Reading::effort>},
    {{"format", FieldType::kObject, 0, 0, "AnthropicFormat"}, set_format},
};
RequestResult<void> set_output_config(Reading& request, const Json& value) {
  return read_fields<Reading>(value, kOutputFields, request, "output_config");
}

constexpr ReadingField kRequestFields[] = {
    {{"model", FieldType::kText, 1, kLimits.model_name_bytes_max}, Fields::model},
    {{"messages", FieldType::kList, 1, kLimits.messages_max, "AnthropicMessage"},
     Fields::later<&Reading::messages>},
    {{"system", FieldType::kAny, 0, 0, "AnthropicText"}, Fields::later<&Reading::system>},
    {{"max_tokens", FieldType::kWhole, 1, kTokensFieldMost}, Fields::whole<&ChatJob::max_tokens>},
    {{"stream", FieldType::kBoolean}, Fields::flag<&Reading::stream>},
    {{"stop_sequences", FieldType::kList, 0, kLimits.stop_strings_max, "StopString"}, set_stop},
    {{"temperature", FieldType::kNumber, 0, 2}, Fields::number<&ChatJob::temperature>},
    {{"top_p", FieldType::kNumber, 0.0001, 1}, Fields::number<&ChatJob::top_p>},
    {{"top_k", FieldType::kWhole, 0, 1e6}, Fields::whole<&ChatJob::top_k>},
    {{"thinking", FieldType::kObject, 0, 0, "AnthropicThinking"}, set_thinking},
    {{"output_config", FieldType::kObject, 0, 0, "AnthropicOutputConfig"}, set_output_config},
    {{"tools", FieldType::kList, 0, kLimits.tools_max, "AnthropicTool"},
     Fields::later<&Reading::tools>},
    {{"tool_choice", FieldType::kObject, 0, 0, "AnthropicToolChoice"},
     Fields::later<&Reading::tool_choice>},
    // What asks nothing of the answer.
    {{"metadata", FieldType::kObject}},
    {{"service_tier", FieldType::kText, 0, 64}},
    {{"cache_control", FieldType::kObject}},
};

struct Tool {
  std::string type = "custom", name;
  const Json* description = nullptr;
  const Json* schema = nullptr;
};
constexpr Field<Tool> kToolFields[] = {
    {{"type", FieldType::kText, 1, 64}, JobFields<Tool>::text<&Tool::type>},
    {{"name", FieldType::kText, 1, kNameBytesMost}, JobFields<Tool>::text<&Tool::name>},
    {{"description", FieldType::kText, 0, kTextFieldMost},
     JobFields<Tool>::later<&Tool::description>},
    {{"input_schema", FieldType::kObject}, JobFields<Tool>::later<&Tool::schema>},
    {{"cache_control", FieldType::kObject}},
    {{"strict", FieldType::kBoolean}},
    {{"eager_input_streaming", FieldType::kBoolean}},
    {{"input_examples", FieldType::kList, 0, 1024}},
};

RequestResult<Json> read_tool(const Json& value, const std::string& path) {
  Tool tool;
  // A tool of Anthropic's own has other fields; its type is what is wrong with it.
  const auto type = value.is_object() ? value.find("type") : value.end();
  if (value.is_object() && type != value.end() && type->is_string() && *type != "custom") {
    const std::string field = field_path(path, "type");
    return refuse_field(ErrorKind::kUnsupported, field,
                        field + " must be \"custom\": this server runs no tools itself");
  }
  if (!value.is_object()) {
    return refuse_field(ErrorKind::kInvalid, path, path + " must be an object");
  }
  if (auto read = read_fields<Tool>(value, kToolFields, tool, path); !read) {
    return tl::unexpected(read.error());
  }
  if (tool.name.empty()) {
    return refuse_field(ErrorKind::kInvalid, field_path(path, "name"), path + " has no name");
  }
  Json function = {{"name", tool.name}};
  if (tool.description != nullptr) function["description"] = *tool.description;
  function["parameters"] = tool.schema != nullptr ? *tool.schema : Json{{"type", "object"}};
  return Json{{"type", "function"}, {"function", std::move(function)}};
}

RequestResult<void> read_tools(Reading& request) {
  if (request.tools == nullptr || request.tools->empty()) return {};
  Json tools = Json::array();
  for (size_t i = 0; i < request.tools->size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    auto tool = read_tool((*request.tools)[i], path);
    if (!tool) return tl::unexpected(tool.error());
    if (has_tool(tools, (*tool)["function"]["name"])) {
      return refuse_field(ErrorKind::kInvalid, path, path + " has the name of another");
    }
    tools.push_back(std::move(*tool));
  }
  request.job.tools = std::move(tools);
  return {};
}

struct Choice {
  std::string type, name;
  bool one_call_only = false;
};
constexpr Field<Choice> kChoiceFields[] = {
    {{"type", FieldType::kText, 1, 64, "AnthropicChoiceType"},
     JobFields<Choice>::text<&Choice::type>},
    {{"name", FieldType::kText, 1, kNameBytesMost}, JobFields<Choice>::text<&Choice::name>},
    {{"disable_parallel_tool_use", FieldType::kBoolean},
     JobFields<Choice>::flag<&Choice::one_call_only>},
};

RequestResult<void> read_tool_choice(Reading& request) {
  if (request.tool_choice == nullptr) return {};
  Choice choice;
  auto read = read_fields<Choice>(*request.tool_choice, kChoiceFields, choice, "tool_choice");
  if (!read) return read;
  ChatJob& job = request.job;
  const auto wrong = [](std::string_view why) {
    return refuse_field(ErrorKind::kInvalid, "tool_choice", fmt::format("tool_choice {}", why));
  };
  job.one_call_only = choice.one_call_only;
  if (choice.type == "auto") return {};
  if (choice.type == "none") {
    job.tools = nullptr;
    return {};
  }
  if (choice.type != "any" && choice.type != "tool") {
    return wrong("must have the type auto, any, tool or none");
  }
  if (!job.tools.is_array()) return wrong("asks for a call, but there are no tools");
  job.tool_choice = ChatJob::ToolChoice::kRequired;
  if (choice.type == "any") return {};
  if (!has_tool(job.tools, choice.name)) return wrong("names none of the tools");
  job.tool_choice = ChatJob::ToolChoice::kNamed;
  job.named_tool = choice.name;
  return {};
}

RequestResult<void> read_effort_and_budget(Reading& request) {
  const Thinking said = request.job.thinking;
  if (!request.effort.empty() && !read_effort(request.effort, request.job)) {
    return refuse_field(ErrorKind::kInvalid, "output_config.effort",
                        "output_config.effort must be low, medium, high, xhigh or max");
  }
  request.job.thinking = said;  // the effort bounds it and does not switch it
  if (request.thinking_budget) request.job.thinking_budget = request.thinking_budget;
  return {};
}

RequestResult<AnthropicRequest> read(std::string_view body, bool wants_answer) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  Reading request;
  auto done = read_fields<Reading>(*object, kRequestFields, request);
  if (done) done = read_effort_and_budget(request);
  if (done) done = read_tools(request);
  if (done) done = read_tool_choice(request);
  if (!done) return tl::unexpected(done.error());
  if (!request.job.schema.empty() && request.job.tools.is_array()) {
    return refuse_field(ErrorKind::kUnsupported, "output_config.format",
                        "output_config.format cannot be honoured together with tools");
  }
  if (request.messages == nullptr) {
    return refuse_field(ErrorKind::kInvalid, "messages", "messages: the request has none");
  }
  if (wants_answer && request.job.max_tokens == 0) {
    return refuse_field(ErrorKind::kInvalid, "max_tokens", "max_tokens: the request has none");
  }
  auto messages = read_anthropic_messages(*request.messages,
                                          request.system != nullptr ? *request.system : Json());
  if (!messages) return tl::unexpected(messages.error());
  request.job.messages = std::move(*messages);
  return static_cast<AnthropicRequest&&>(request);
}

}  // namespace

std::vector<FieldForm> anthropic_forms() {
  std::vector<FieldForm> forms = {
      field_form("AnthropicRequest", kRequestFields, {"messages", "max_tokens"}),
      field_form("AnthropicCountRequest", kRequestFields, {"messages"}),
      field_form("AnthropicThinking", kThinkingFields),
      field_form("AnthropicOutputConfig", kOutputFields),
      field_form("AnthropicFormat", kFormFields, {"type", "schema"}),
      field_form("AnthropicTool", kToolFields, {"name"}),
      field_form("AnthropicToolChoice", kChoiceFields, {"type"}),
  };
  append_anthropic_message_forms(forms);
  return forms;
}

RequestResult<AnthropicRequest> read_anthropic_request(std::string_view body) {
  return read(body, true);
}

RequestResult<AnthropicRequest> read_anthropic_count(std::string_view body) {
  return read(body, false);
}

}  // namespace hadal
