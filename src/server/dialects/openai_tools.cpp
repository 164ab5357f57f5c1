#include "server/dialects/openai_tools.h"

#include "base/json.h"
#include "server/chat/fields.h"
#include "server/chat/tools.h"

namespace hadal {
namespace {

constexpr double kNameBytesMax = 128, kTextBytesMax = 1 << 20;

struct Object {
  Json out = Json::object();
  std::string type, name, schema;
  const Json* function = nullptr;
};

RequestResult<void> set_type(Object& object, const Json& value) {
  object.type = value.get<std::string>();
  return {};
}
RequestResult<void> set_name(Object& object, const Json& value) {
  object.name = value.get<std::string>();
  object.out["name"] = value;
  return {};
}
RequestResult<void> set_description(Object& object, const Json& value) {
  object.out["description"] = value;
  return {};
}
RequestResult<void> set_parameters(Object& object, const Json& value) {
  object.out["parameters"] = value;
  return {};
}
RequestResult<void> set_arguments(Object& object, const Json& value) {
  object.out["arguments"] = value;
  return {};
}
RequestResult<void> set_function(Object& object, const Json& value) {
  object.function = &value;
  return {};
}
RequestResult<void> set_id(Object& object, const Json& value) {
  object.out["id"] = value;
  return {};
}
RequestResult<void> set_schema(Object& object, const Json& value) {
  object.schema = value.dump();
  return {};
}

constexpr Field<Object> kOuterFields[] = {
    {{"type", FieldType::kText, 0, 64}, set_type},
    {{"function", FieldType::kObject}, set_function},
    {{"id", FieldType::kText, 0, 256}, set_id},
    {{"index", FieldType::kWhole, 0, 1e6}},
};
constexpr Field<Object> kToolFields[] = {
    {{"name", FieldType::kText, 1, kNameBytesMax}, set_name},
    {{"description", FieldType::kText, 0, kTextBytesMax}, set_description},
    {{"parameters", FieldType::kObject}, set_parameters},
    {{"strict", FieldType::kBoolean}},
};
constexpr Field<Object> kCallFields[] = {
    {{"name", FieldType::kText, 1, kNameBytesMax}, set_name},
    {{"arguments", FieldType::kText, 0, kTextBytesMax}, set_arguments},
};
constexpr Field<Object> kChosenFields[] = {
    {{"name", FieldType::kText, 1, kNameBytesMax}, set_name},
};
constexpr Field<Object> kFormatFields[] = {
    {{"type", FieldType::kText, 0, 64, "OpenAiFormatType"}, set_type},
    {{"json_schema", FieldType::kObject, 0, 0, "OpenAiJsonSchema"}, set_function},
};
constexpr Field<Object> kSchemaFields[] = {
    {{"name", FieldType::kText, 0, kNameBytesMax}, set_name},
    {{"description", FieldType::kText, 0, kTextBytesMax}, set_description},
    {{"schema", FieldType::kObject}, set_schema},
    {{"strict", FieldType::kBoolean}},
};

// {"type": "function", "function": {"name", ...}}: the inner object by `fields`.
RequestResult<Object> read_function(const Json& value, std::span<const Field<Object>> fields,
                                    const std::string& path) {
  if (!value.is_object()) {
    return refuse_field(ErrorKind::kInvalid, path, fmt::format("{} must be an object", path));
  }
  Object outer;
  if (auto read = read_fields<Object>(value, kOuterFields, outer, path); !read) {
    return tl::unexpected(read.error());
  }
  if (!outer.type.empty() && outer.type != "function") {
    const std::string field = field_path(path, "type");
    return refuse_field(ErrorKind::kUnsupported, field,
                        fmt::format("{} must be \"function\"", field));
  }
  const std::string inner_path = field_path(path, "function");
  if (outer.function == nullptr) {
    return refuse_field(ErrorKind::kInvalid, inner_path, fmt::format("{} is missing", inner_path));
  }
  Object inner;
  if (auto read = read_fields<Object>(*outer.function, fields, inner, inner_path); !read) {
    return tl::unexpected(read.error());
  }
  if (inner.name.empty()) {
    return refuse_field(ErrorKind::kInvalid, field_path(inner_path, "name"),
                        fmt::format("{} has no name", inner_path));
  }
  Object result;
  result.name = inner.name;
  if (outer.out.contains("id")) result.out["id"] = outer.out["id"];
  result.out["type"] = "function";
  result.out["function"] = std::move(inner.out);
  return result;
}

}  // namespace

void append_openai_tool_forms(std::vector<FieldForm>& forms) {
  const auto append = [&](const char* name, const char* function, const auto& fields) {
    forms.push_back(field_form(name, kOuterFields, {"function"}));
    std::ranges::find(forms.back().fields, std::string_view("function"), &FieldShape::name)->form =
        function;
    forms.push_back(field_form(function, fields, {"name"}));
  };
  append("OpenAiTool", "OpenAiFunction", kToolFields);
  append("OpenAiPastCall", "OpenAiCalledFunction", kCallFields);
  append("OpenAiNamedTool", "OpenAiNamedFunction", kChosenFields);
  forms.push_back(field_form("OpenAiResponseFormat", kFormatFields, {"type"}));
  forms.push_back(field_form("OpenAiJsonSchema", kSchemaFields, {"schema"}));
}

RequestResult<void> read_tools(const Json& tools, ChatJob& job) {
  if (tools.empty()) return {};
  Json result = Json::array();
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    auto tool = read_function(tools[i], kToolFields, path);
    if (!tool) return tl::unexpected(tool.error());
    if (has_tool(result, tool->name)) {
      return refuse_field(ErrorKind::kInvalid, path,
                          fmt::format("{} has the name of another", path));
    }
    result.push_back(std::move(tool->out));
  }
  job.tools = std::move(result);
  return {};
}

RequestResult<void> choose_tool(const Json& choice, ChosenName name_of, ChatJob& job) {
  if (choice == "auto") return {};
  if (choice == "none") {
    job.tools = nullptr;
    return {};
  }
  const auto wrong = [](std::string_view why) {
    return refuse_field(ErrorKind::kInvalid, "tool_choice", fmt::format("tool_choice {}", why));
  };
  job.tool_choice = ChatJob::ToolChoice::kRequired;
  if (choice != "required") {
    if (!choice.is_object()) return wrong("must be none, auto, required or a function");
    auto name = name_of(choice);
    if (!name) return tl::unexpected(name.error());
    if (!job.tools.is_array() || !has_tool(job.tools, *name)) {
      return wrong("names a function that is not among the tools");
    }
    job.tool_choice = ChatJob::ToolChoice::kNamed;
    job.named_tool = std::move(*name);
  }
  if (!job.tools.is_array()) return wrong("asks for a call, but there are no tools");
  return {};
}

RequestResult<void> read_tool_choice(const Json& choice, ChatJob& job) {
  const auto name_of = [](const Json& named) -> RequestResult<std::string> {
    auto function = read_function(named, kChosenFields, "tool_choice");
    if (!function) return tl::unexpected(function.error());
    return std::move(function->name);
  };
  return choose_tool(choice, name_of, job);
}

RequestResult<void> read_response_format(const Json& format, ChatJob& job) {
  Object object;
  if (auto read = read_fields<Object>(format, kFormatFields, object, "response_format"); !read) {
    return read;
  }
  if (object.type == "text") return {};
  if (object.type == "json_object") {
    job.schema = R"({"type":"object"})";
    return {};
  }
  if (object.type != "json_schema") {
    return refuse_field(ErrorKind::kInvalid, "response_format.type",
                        "response_format.type must be text, json_object or json_schema");
  }
  const std::string path = "response_format.json_schema";
  if (object.function == nullptr) {
    return refuse_field(ErrorKind::kInvalid, path, fmt::format("{} is missing", path));
  }
  Object schema;
  if (auto read = read_fields<Object>(*object.function, kSchemaFields, schema, path); !read) {
    return read;
  }
  if (schema.schema.empty()) {
    return refuse_field(ErrorKind::kInvalid, path + ".schema", path + ".schema is missing");
  }
  job.schema = std::move(schema.schema);
  return {};
}

RequestResult<Json> read_past_calls(const Json& calls, const std::string& path) {
  Json result = Json::array();
  for (size_t i = 0; i < calls.size(); ++i) {
    auto call = read_function(calls[i], kCallFields, fmt::format("{}[{}]", path, i));
    if (!call) return tl::unexpected(call.error());
    Json& function = call->out["function"];
    if (!function.contains("arguments")) function["arguments"] = "{}";
    result.push_back(std::move(call->out));
  }
  return result;
}

}  // namespace hadal
