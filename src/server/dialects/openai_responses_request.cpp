#include "server/dialects/openai_responses_request.h"

#include <algorithm>

#include "server/chat/json_text.h"
#include "server/chat/tools.h"
#include "server/dialects/job_fields.h"
#include "server/dialects/openai_responses_input.h"
#include "server/dialects/openai_tools.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr ChatLimits kLimits;
constexpr double kNameBytesMost = 256;
constexpr size_t kMetadataMost = 16, kMetadataNameBytesMost = 64, kMetadataBytesMost = 512;

// With what can only be read when all fields are known; the body's JSON outlives it.
struct Reading : ResponsesRequest {
  const Json* input = nullptr;
  const Json* tools = nullptr;
  const Json* tool_choice = nullptr;
  std::string instructions;
};
using Fields = JobFields<Reading>;
using ReadingField = Field<Reading>;

// Where only one value can be honoured.
template <const char* const* Name, bool Accepted>
RequestResult<void> only(Reading&, const Json& value) {
  if (value.get<bool>() == Accepted) return {};
  return refuse_field(
      ErrorKind::kUnsupported, *Name,
      fmt::format("{} can only be {}: this server keeps no answers", *Name, Accepted));
}
constexpr const char* kStore = "store";
constexpr const char* kBackground = "background";

// What would need an earlier answer to have been kept.
template <const char* const* Name>
RequestResult<void> refuse_kept(Reading&, const Json&) {
  return refuse_field(
      ErrorKind::kUnsupported, *Name,
      fmt::format("{}: this server keeps no answers; send the conversation as input", *Name));
}
constexpr const char* kPrevious = "previous_response_id";
constexpr const char* kConversation = "conversation";
constexpr const char* kPrompt = "prompt";

RequestResult<void> set_parallel_calls(Reading& request, const Json& value) {
  request.job.one_call_only = !value.get<bool>();
  return {};
}
RequestResult<void> set_top_logprobs(Reading& request, const Json& value) {
  request.job.top_logprobs = static_cast<uint32_t>(value.get<double>());
  request.logprobs = *request.job.top_logprobs > 0;
  return {};
}
// Reasoning comes whole, so nobody needs it encrypted to send it back.
RequestResult<void> set_include(Reading& request, const Json& value) {
  for (const Json& wanted : value) {
    if (wanted == "message.output_text.logprobs") {
      request.logprobs = true;
    } else if (wanted != "reasoning.encrypted_content") {
      return refuse_field(ErrorKind::kUnsupported, "include",
                          "include: only message.output_text.logprobs and "
                          "reasoning.encrypted_content can be asked for here");
    }
  }
  return {};
}
RequestResult<void> set_truncation(Reading&, const Json& value) {
  if (value == "disabled") return {};
  return refuse_field(ErrorKind::kUnsupported, "truncation",
                      "truncation can only be disabled: a prompt is never cut here");
}
RequestResult<void> set_metadata(Reading&, const Json& value) {
  bool good = value.size() <= kMetadataMost;
  for (const auto& [name, text] : value.items()) {
    good = good && name.size() <= kMetadataNameBytesMost && text.is_string() &&
           text.get_ref<const std::string&>().size() <= kMetadataBytesMost;
  }
  if (good) return {};
  return refuse_field(ErrorKind::kInvalid, "metadata",
                      fmt::format("metadata must be at most {} strings of at most {} bytes with "
                                  "names of at most {}",
                                  kMetadataMost, kMetadataBytesMost, kMetadataNameBytesMost));
}

RequestResult<void> set_effort(Reading& request, const Json& value) {
  request.job.thinking_field = "reasoning.effort";
  if (read_effort(value.get_ref<const std::string&>(), request.job)) return {};
  return refuse_field(ErrorKind::kInvalid, "reasoning.effort",
                      "reasoning.effort must be none, minimal, low, medium, high, xhigh or max");
}
// Whether there are any is left to the server then; here are none.
RequestResult<void> set_summary(Reading&, const Json& value) {
  if (value == "auto") return {};
  return refuse_field(ErrorKind::kUnsupported, "reasoning.summary",
                      "reasoning.summary can only be auto: reasoning comes whole, not summarized");
}
constexpr ReadingField kReasoningFields[] = {
    {{"effort", FieldType::kText, 1, 64, "Effort"}, set_effort},
    {{"summary", FieldType::kText, 1, 64, "OpenAiSummary"}, set_summary},
    {{"generate_summary", FieldType::kText, 1, 64, "OpenAiSummary"}, set_summary},
};
RequestResult<void> set_reasoning(Reading& request, const Json& value) {
  return read_fields<Reading>(value, kReasoningFields, request, "reasoning");
}

struct Form {
  std::string type;
  const Json* schema = nullptr;
};
constexpr Field<Form> kFormFields[] = {
    {{"type", FieldType::kText, 1, 64, "OpenAiFormatType"}, JobFields<Form>::text<&Form::type>},
    {{"schema", FieldType::kObject}, JobFields<Form>::later<&Form::schema>},
    {{"name", FieldType::kText, 0, kNameBytesMost}},
    {{"description", FieldType::kText, 0, kTextFieldMost}},
    {{"strict", FieldType::kBoolean}},
};
RequestResult<void> set_format(Reading& request, const Json& value) {
  Form form;
  if (auto read = read_fields<Form>(value, kFormFields, form, "text.format"); !read) return read;
  if (form.type == "text") return {};
  if (form.type == "json_object") {
    request.job.schema = R"({"type":"object"})";
    return {};
  }
  if (form.type != "json_schema") {
    return refuse_field(ErrorKind::kInvalid, "text.format.type",
                        "text.format.type must be text, json_object or json_schema");
  }
  if (form.schema == nullptr) {
    return refuse_field(ErrorKind::kInvalid, "text.format.schema", "text.format.schema is missing");
  }
  request.job.schema = form.schema->dump();
  return {};
}
RequestResult<void> set_verbosity(Reading&, const Json& value) {
  if (value == "medium") return {};
  return refuse_field(ErrorKind::kUnsupported, "text.verbosity",
                      "text.verbosity can only be medium: no model here was made for another");
}
constexpr ReadingField kTextFields[] = {
    {{"format", FieldType::kObject, 0, 0, "OpenAiResponsesFormat"}, set_format},
    {{"verbosity", FieldType::kText, 1, 64, "OpenAiVerbosity"}, set_verbosity},
};
RequestResult<void> set_text(Reading& request, const Json& value) {
  return read_fields<Reading>(value, kTextFields, request, "text");
}

constexpr ReadingField kStreamFields[] = {
    {{"include_obfuscation", FieldType::kBoolean}},  // lengths on a loopback tell nobody anything
};
RequestResult<void> set_stream_options(Reading& request, const Json& value) {
  return read_fields<Reading>(value, kStreamFields, request, "stream_options");
}

constexpr ReadingField kFields[] = {
    {{"model", FieldType::kText, 0, kLimits.model_name_bytes_max}, Fields::model},
    {{"input", FieldType::kAny, 0, 0, "OpenAiResponsesInput"}, Fields::later<&Reading::input>},
    {{"instructions", FieldType::kText, 0, kTextFieldMost}, Fields::text<&Reading::instructions>},
    {{"stream", FieldType::kBoolean}, Fields::flag<&Reading::stream>},
    {{"stream_options", FieldType::kObject, 0, 0, "OpenAiResponsesStreamOptions"},
     set_stream_options},
    {{"max_output_tokens", FieldType::kWhole, 1, kTokensFieldMost},
     Fields::whole<&ChatJob::max_tokens>},
    {{"temperature", FieldType::kNumber, 0, 2}, Fields::number<&ChatJob::temperature>},
    {{"top_p", FieldType::kNumber, 0.0001, 1}, Fields::number<&ChatJob::top_p>},
    {{"top_k", FieldType::kWhole, 0, 1e6}, Fields::whole<&ChatJob::top_k>},
    {{"min_p", FieldType::kNumber, 0, 0.999}, Fields::number<&ChatJob::min_p>},
    {{"seed", FieldType::kWhole, -kSeedFieldMost, kSeedFieldMost}, Fields::seed},
    {{"top_logprobs", FieldType::kWhole, 0, kLimits.top_logprobs_max}, set_top_logprobs},
    {{"include", FieldType::kList, 0, 64, "OpenAiInclude"}, set_include},
    {{"tools", FieldType::kList, 0, kLimits.tools_max, "OpenAiResponsesTool"},
     Fields::later<&Reading::tools>},
    {{"tool_choice", FieldType::kAny, 0, 0, "OpenAiResponsesToolChoice"},
     Fields::later<&Reading::tool_choice>},
    {{"parallel_tool_calls", FieldType::kBoolean}, set_parallel_calls},
    {{"text", FieldType::kObject, 0, 0, "OpenAiResponsesText"}, set_text},
    {{"reasoning", FieldType::kObject, 0, 0, "OpenAiReasoning"}, set_reasoning},
    {{"truncation", FieldType::kText, 1, 64, "OpenAiTruncation"}, set_truncation},
    {{"store", FieldType::kBoolean, 0, 0, "False"}, only<&kStore, false>},
    {{"background", FieldType::kBoolean, 0, 0, "False"}, only<&kBackground, false>},
    {{"previous_response_id", FieldType::kAny, 0, 0, "Null"}, refuse_kept<&kPrevious>},
    {{"conversation", FieldType::kAny, 0, 0, "Null"}, refuse_kept<&kConversation>},
    {{"prompt", FieldType::kAny, 0, 0, "Null"}, refuse_kept<&kPrompt>},
    {{"metadata", FieldType::kObject, 0, 0, "OpenAiMetadata"}, set_metadata},
    // What asks nothing of the answer.
    {{"max_tool_calls", FieldType::kWhole, 1, 1e6}},  // of built-in ones, of which there are none
    {{"user", FieldType::kText, 0, 1024}},
    {{"safety_identifier", FieldType::kText, 0, 1024}},
    {{"prompt_cache_key", FieldType::kText, 0, 1024}},
    {{"prompt_cache_retention", FieldType::kText, 0, 64}},
    {{"service_tier", FieldType::kText, 0, 64}},
};

struct Tool {
  std::string type, name;
  const Json* description = nullptr;
  const Json* parameters = nullptr;
};
constexpr Field<Tool> kToolFields[] = {
    {{"type", FieldType::kText, 1, 64, "OpenAiFunctionType"}, JobFields<Tool>::text<&Tool::type>},
    {{"name", FieldType::kText, 1, kNameBytesMost}, JobFields<Tool>::text<&Tool::name>},
    {{"description", FieldType::kText, 0, kTextFieldMost},
     JobFields<Tool>::later<&Tool::description>},
    {{"parameters", FieldType::kObject}, JobFields<Tool>::later<&Tool::parameters>},
    {{"strict", FieldType::kBoolean}},
};

// A tool, or the choice of one. Of another type it has other fields; its type is what is wrong.
RequestResult<Tool> read_function(const Json& value, const std::string& path) {
  if (!value.is_object()) {
    return refuse_field(ErrorKind::kInvalid, path, path + " must be an object");
  }
  const auto type = value.find("type");
  if (type == value.end() || *type != "function") {
    const std::string field = field_path(path, "type");
    return refuse_field(ErrorKind::kUnsupported, field,
                        field + " must be \"function\": this server runs no tools itself");
  }
  Tool tool;
  if (auto read = read_fields<Tool>(value, kToolFields, tool, path); !read) {
    return tl::unexpected(read.error());
  }
  if (!tool.name.empty()) return tool;
  return refuse_field(ErrorKind::kInvalid, field_path(path, "name"), path + " has no name");
}

RequestResult<void> read_tools(Reading& request) {
  if (request.tools == nullptr || request.tools->empty()) return {};
  Json tools = Json::array();
  for (size_t i = 0; i < request.tools->size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    auto tool = read_function((*request.tools)[i], path);
    if (!tool) return tl::unexpected(tool.error());
    if (has_tool(tools, tool->name)) {
      return refuse_field(ErrorKind::kInvalid, path, path + " has the name of another");
    }
    Json function = {{"name", tool->name}};
    if (tool->description != nullptr) function["description"] = *tool->description;
    if (tool->parameters != nullptr) function["parameters"] = *tool->parameters;
    tools.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  request.job.tools = std::move(tools);
  return {};
}

RequestResult<void> read_tool_choice(Reading& request) {
  if (request.tool_choice == nullptr) return {};
  const auto name_of = [](const Json& choice) -> RequestResult<std::string> {
    auto tool = read_function(choice, "tool_choice");
    if (!tool) return tl::unexpected(tool.error());
    return std::move(tool->name);
  };
  return choose_tool(*request.tool_choice, name_of, request.job);
}

// What a response says of its request.
Json repeat(const Json& object) {
  Json repeated = {{"instructions", nullptr},
                   {"max_output_tokens", nullptr},
                   {"max_tool_calls", nullptr},
                   {"metadata", Json::object()},
                   {"parallel_tool_calls", true},
                   {"previous_response_id", nullptr},
                   {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
                   {"store", false},
                   {"background", false},
                   {"temperature", nullptr},
                   {"text", {{"format", {{"type", "text"}}}}},
                   {"tool_choice", "auto"},
                   {"tools", Json::array()},
                   {"top_logprobs", 0},
                   {"top_p", nullptr},
                   {"truncation", "disabled"},
                   {"user", nullptr}};
  for (auto& [name, value] : repeated.items()) {
    const auto given = object.find(name);
    if (given == object.end() || given->is_null()) continue;
    if (value.is_object() && given->is_object()) {
      value.update(*given);
    } else {
      value = *given;
    }
  }
  return repeated;
}

}  // namespace

std::vector<FieldForm> responses_forms() {
  std::vector<FieldForm> forms = {
      field_form("OpenAiResponsesRequest", kFields, {"input"}),
      field_form("OpenAiResponsesStreamOptions", kStreamFields),
      field_form("OpenAiReasoning", kReasoningFields),
      field_form("OpenAiResponsesText", kTextFields),
      field_form("OpenAiResponsesFormat", kFormFields),
      field_form("OpenAiResponsesTool", kToolFields, {"type", "name"}),
  };
  append_responses_input_forms(forms);
  return forms;
}

RequestResult<ResponsesRequest> read_responses_request(std::string_view body) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  Reading request;
  auto done = read_fields<Reading>(*object, kFields, request);
  if (done) done = read_tools(request);
  if (done) done = read_tool_choice(request);
  if (!done) return tl::unexpected(done.error());
  ChatJob& job = request.job;
  if (request.input == nullptr) {
    return refuse_field(ErrorKind::kInvalid, "input", "the request has no input");
  }
  if (!job.schema.empty() && job.tools.is_array()) {
    return refuse_field(ErrorKind::kUnsupported, "text.format",
                        "text.format cannot be honoured together with tools");
  }
  if (request.logprobs) job.top_logprobs = job.top_logprobs.value_or(0);
  if (!request.logprobs) job.top_logprobs.reset();
  auto messages = read_responses_input(*request.input, request.instructions);
  if (!messages) return tl::unexpected(messages.error());
  job.messages = std::move(*messages);
  request.repeated = repeat(*object);
  return static_cast<ResponsesRequest&&>(request);
}

}  // namespace hadal
