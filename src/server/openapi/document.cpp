#include "server/openapi/document.h"

#include <cmath>
#include <iterator>

#include "base/json.h"
#include "server/dialects/anthropic_request.h"
#include "server/dialects/job_fields.h"
#include "server/dialects/ollama_embed.h"
#include "server/dialects/ollama_models.h"
#include "server/dialects/ollama_request.h"
#include "server/dialects/openai_embeddings.h"
#include "server/dialects/openai_request.h"
#include "server/dialects/openai_responses_request.h"
#include "server/dialects/tokens.h"
#include "server/dialects/wire.h"
#include "server/openapi/schemas.h"

namespace hadal {
namespace {

// What may go wrong, by HTTP's status.
constexpr struct {
  const char* status;
  bool with_key, with_body;  // only on routes that ask for such
  const char* about;
} kErrors[] = {
    {"400", false, true, "A field or its value cannot be honoured; the message names it"},
    {"401", true, false, "The server has keys, and this request none of them"},
    {"403", false, false, "The Host or Origin header is none that this server answers to"},
    {"404", false, false, "There is no such model or address"},
    {"413", false, true, "The body is too long"},
    {"415", false, true, "The body has a Content-Encoding other than identity"},
    {"429", true, true, "Too much is waiting, or the key is used up; Retry-After tells when"},
    {"503", false, false, "The model is not loaded or the server is ending"},
    {"default", false, false, "Whatever else goes wrong"},
};

Json reference(std::string_view form) {
  return {{"$ref", fmt::format("#/components/schemas/{}", form)}};
}

Json number(double value) {
  if (std::trunc(value) == value) return static_cast<int64_t>(value);
  return value;
}

// Without a word on null, which is as good as no field.
Json value_schema(const FieldShape& shape) {
  const auto bounded = [&](const char* type, const char* least, const char* most) -> Json {
    return {{"type", type}, {least, number(shape.least)}, {most, number(shape.most)}};
  };
  if (shape.form != nullptr && shape.type != FieldType::kList) return reference(shape.form);
  switch (shape.type) {
    case FieldType::kNumber:
      return bounded("number", "minimum", "maximum");
    case FieldType::kWhole:
      return bounded("integer", "minimum", "maximum");
    case FieldType::kBoolean:
      return {{"type", "boolean"}};
    case FieldType::kText: {  // its bounds are bytes, JSON Schema's are characters
      Json schema = bounded("string", "minLength", "maxLength");
      if (shape.most >= kTextFieldMost) schema.erase("maxLength");
      return schema;
    }
    case FieldType::kList: {
      Json schema = bounded("array", "minItems", "maxItems");
      if (shape.form != nullptr) schema["items"] = reference(shape.form);
      return schema;
    }
    case FieldType::kObject:
      return {{"type", "object"}};
    case FieldType::kAny:
      break;
  }
  return Json::object();
}

Json or_null(Json schema) {
  if (schema.contains("type")) {
    schema["type"] = Json::array({schema["type"], "null"});
  } else if (!schema.empty()) {
    schema = {{"anyOf", Json::array({std::move(schema), Json{{"type", "null"}}})}};
  }
  return schema;
}

Json form_schema(const FieldForm& form) {
  Json properties = Json::object();
  for (const FieldShape& field : form.fields) {
    const bool required = std::ranges::find(form.required, field.name) != form.required.end();
    Json schema = value_schema(field);
    properties[field.name] = required ? std::move(schema) : or_null(std::move(schema));
  }
  Json schema = {{"type", "object"}, {"properties", std::move(properties)}};
  if (!form.required.empty()) schema["required"] = form.required;
  schema["additionalProperties"] = {{"type", "null"}};
  return schema;
}

Json content(const std::string& type, Json schema) {
  return {{type, {{"schema", std::move(schema)}}}};
}

Json answer(const RouteAbout& about) {
  Json forms = content(about.reply_type,
                       about.reply.empty() ? Json{{"type", "string"}} : reference(about.reply));
  if (about.stream_type.empty()) return {{"description", "The answer"}, {"content", forms}};
  // OpenAPI 3.1 has no word for a sequence: the schema is that of each piece, as is usual.
  forms[about.stream_type] = {{"schema", reference(about.event)}};
  return {{"description", "The answer; with stream, event by event or line by line"},
          {"content", forms}};
}

// "/v1/models/*" -> "post_v1_models"
std::string operation_id(const Route& route) {
  std::string id;
  for (const char c : route.method) id += static_cast<char>(std::tolower(c));
  for (const char c : route.path) id += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return id;
}

Json operation(const Route& route, const std::string& error_form) {
  const RouteAbout& about = route.about;
  const bool with_key = route.access == Access::kKey, with_body = !about.body.empty();
  Json result = {{"tags", Json::array({about.group})},
                 {"summary", about.summary},
                 {"operationId", operation_id(route)}};
  if (!with_key) result["security"] = Json::array();
  if (!about.rest.empty()) {
    result["parameters"] = Json::array({{{"name", about.rest},
                                         {"in", "path"},
                                         {"required", true},
                                         {"schema", {{"type", "string"}, {"minLength", 1}}}}});
  }
  if (with_body) {
    result["requestBody"] = {{"required", true},
                             {"content", content("application/json", reference(about.body))}};
  }
  Json& responses = result["responses"] = {{"200", answer(about)}};
  for (const auto& error : kErrors) {
    if ((error.with_key && !with_key) || (error.with_body && !with_body)) continue;
    responses[error.status] = {{"description", error.about},
                               {"content", content("application/json", reference(error_form))}};
  }
  return result;
}

std::string path_of(const Route& route) {
  if (!route.path.ends_with('*')) return route.path;
  return fmt::format("{}{{{}}}", route.path.substr(0, route.path.size() - 1), route.about.rest);
}

}  // namespace

Json openapi_document(std::span<const Route> routes, std::span<const DialectErrors> errors,
                      std::span<const FieldForm> forms) {
  // Its head, who may ask, and the schemas that no table has.
  Json document = Json::parse(openapi_schemas());
  Json& paths = document["paths"] = Json::object();
  for (const Route& route : routes) {
    const auto fitting = std::ranges::find_if(
        errors, [&](const DialectErrors& some) { return route.path.starts_with(some.beginning); });
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    paths[path_of(route)][method] = operation(route, fitting != errors.end() ? fitting->form : "");
  }
  Json& schemas = document["components"]["schemas"];
  for (const FieldForm& form : forms) schemas[form.name] = form_schema(form);
  return document;
}

std::vector<FieldForm> all_forms() {
  std::vector<FieldForm> all;
  for (auto forms : {openai_forms(), responses_forms(), anthropic_forms(), ollama_forms(),
                     ollama_embed_forms(), token_forms()}) {
    all.insert(all.end(), std::make_move_iterator(forms.begin()),
               std::make_move_iterator(forms.end()));
  }
  all.push_back(openai_embeddings_form());
  all.push_back(OllamaModels::show_form());
  return all;
}

void append_openapi_route(std::vector<Route>& routes, std::span<const DialectErrors> errors) {
  routes.push_back(
      {.method = "GET",
       .path = "/openapi.json",
       .runs_on = RunsOn::kIoThread,
       .handler = {},
       .about = {.group = "Server", .summary = "This document", .reply = "OpenApiDocument"}});
  routes.back().handler = [reply = json_reply(openapi_document(routes, errors, all_forms()))](
                              const WebRequest&, const std::shared_ptr<Exchange>& exchange) {
    exchange->reply(reply);
  };
}

}  // namespace hadal
