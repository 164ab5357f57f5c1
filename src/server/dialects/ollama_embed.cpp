#include "server/dialects/ollama_embed.h"

#include "server/chat/json_text.h"
#include "server/dialects/job_fields.h"
#include "server/dialects/wire.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr ChatLimits kChatLimits;
constexpr EmbeddingLimits kLimits;

RequestResult<void> set_model(OllamaEmbedRequest& request, const Json& value) {
  request.job.model = value.get<std::string>();
  return {};
}

// Nothing to say is no input.
RequestResult<void> set_input(OllamaEmbedRequest& request, const Json& value) {
  const auto wrong = [] {
    return refuse_field(ErrorKind::kInvalid, "input",
                        fmt::format("input must be a string or a list of at most {} strings, none "
                                    "of them empty",
                                    kLimits.inputs_max));
  };
  if (value == "") return {};
  const Json list = value.is_array() ? value : Json::array({value});
  if (list.size() > kLimits.inputs_max) return wrong();
  for (const Json& text : list) {
    if (!text.is_string() || text == "") return wrong();
    request.job.inputs.emplace_back(text.get<std::string>());
  }
  return {};
}
RequestResult<void> set_prompt(OllamaEmbedRequest& request, const Json& value) {
  if (value != "") request.job.inputs.emplace_back(value.get<std::string>());
  return {};
}

RequestResult<void> set_truncate(OllamaEmbedRequest& request, const Json& value) {
  request.job.truncate = value.get<bool>();
  return {};
}
RequestResult<void> set_dimensions(OllamaEmbedRequest& request, const Json& value) {
  request.job.dimensions = static_cast<uint32_t>(value.get<double>());
  return {};
}
// Of all of them the context alone means something to an embedding.
RequestResult<void> set_options(OllamaEmbedRequest& request, const Json& value) {
  ChatJob job;
  if (auto read = read_ollama_options(value, job); !read) return read;
  request.job.context_most = job.context_most;
  return {};
}
RequestResult<void> set_keep_alive(OllamaEmbedRequest& request, const Json& value) {
  auto keep_alive = read_keep_alive(value);
  if (!keep_alive) return tl::unexpected(keep_alive.error());
  request.keep_alive = *keep_alive;
  return {};
}

using EmbedField = Field<OllamaEmbedRequest>;
constexpr EmbedField kModelField = {
    {"model", FieldType::kText, 1, kChatLimits.model_name_bytes_max}, set_model};
constexpr EmbedField kOptionsField = {{"options", FieldType::kObject, 0, 0, "OllamaOptions"},
                                      set_options};
constexpr EmbedField kKeepAliveField = {{"keep_alive", FieldType::kAny, 0, 0, "KeepAlive"},
                                        set_keep_alive};

constexpr EmbedField kEmbedFields[] = {
    kModelField,
    {{"input", FieldType::kAny, 0, 0, "OllamaEmbedInput"}, set_input},
    {{"truncate", FieldType::kBoolean}, set_truncate},
    {{"dimensions", FieldType::kWhole, 1, kEmbeddingWidthFieldMost}, set_dimensions},
    kOptionsField,
    kKeepAliveField,
};
constexpr EmbedField kEmbeddingsFields[] = {
    kModelField,
    {{"prompt", FieldType::kText, 0, kTextFieldMost}, set_prompt},
    kOptionsField,
    kKeepAliveField,
};

RequestResult<OllamaEmbedRequest> read(std::string_view body, std::span<const EmbedField> fields) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  OllamaEmbedRequest request;
  if (auto done = read_fields<OllamaEmbedRequest>(*object, fields, request); !done) {
    return tl::unexpected(done.error());
  }
  if (!request.job.model.empty()) return request;
  return refuse_field(ErrorKind::kInvalid, "model", "model: the request names none");
}

}  // namespace

std::vector<FieldForm> ollama_embed_forms() {
  return {field_form("OllamaEmbedRequest", kEmbedFields, {"model"}),
          field_form("OllamaEmbeddingsRequest", kEmbeddingsFields, {"model"})};
}

RequestResult<OllamaEmbedRequest> read_ollama_embed(std::string_view body) {
  return read(body, kEmbedFields);
}

RequestResult<OllamaEmbedRequest> read_ollama_embeddings(std::string_view body) {
  auto request = read(body, kEmbeddingsFields);
  if (!request) return request;
  request->single = true;
  request->job.field = "prompt";
  request->job.unit_length = false;
  return request;
}

std::string ollama_embed_body(const OllamaEmbedRequest& request, const std::string& name,
                              const Embeddings& embeddings, double seconds) {
  if (request.single) {
    return fmt::format(R"({{"embedding":{}}})",
                       embeddings.vectors.empty() ? "[]" : embeddings.vectors.front());
  }
  Json rest = {{"total_duration", static_cast<int64_t>(seconds * 1e9)},
               {"load_duration", static_cast<int64_t>(embeddings.load_seconds * 1e9)},
               {"prompt_eval_count", embeddings.tokens}};
  if (!embeddings.truncated.empty()) rest["truncated"] = embeddings.truncated;
  return fmt::format(R"({{"model":{},"embeddings":{},{})", wire_text(name),
                     json_list(embeddings.vectors), wire_text(rest).substr(1));
}

}  // namespace hadal
