#include "server/dialects/openai_embeddings.h"

#include "server/chat/json_text.h"
#include "server/dialects/job_fields.h"
#include "server/dialects/openai_errors.h"
#include "server/dialects/openai_texts.h"
#include "server/dialects/wire.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr ChatLimits kChatLimits;
constexpr EmbeddingLimits kLimits;

RequestResult<void> set_input(EmbedJob& job, const Json& value) {
  auto inputs = read_texts(value, "input", kLimits.inputs_max);
  if (!inputs) return tl::unexpected(inputs.error());
  job.inputs = std::move(*inputs);
  return {};
}

RequestResult<void> set_model(EmbedJob& job, const Json& value) {
  job.model = value.get<std::string>();
  return {};
}
RequestResult<void> set_dimensions(EmbedJob& job, const Json& value) {
  job.dimensions = static_cast<uint32_t>(value.get<double>());
  return {};
}
RequestResult<void> set_form(EmbedJob& job, const Json& value) {
  if (value == "base64") job.form = VectorForm::kBase64;
  if (value == "base64" || value == "float") return {};
  return refuse_field(ErrorKind::kInvalid, "encoding_format",
                      "encoding_format must be \"float\" or \"base64\"");
}

constexpr Field<EmbedJob> kFields[] = {
    {{"model", FieldType::kText, 0, kChatLimits.model_name_bytes_max}, set_model},
    {{"input", FieldType::kAny, 0, 0, "OpenAiEmbeddingInput"}, set_input},
    {{"encoding_format", FieldType::kText, 0, 64, "OpenAiVectorForm"}, set_form},
    {{"dimensions", FieldType::kWhole, 1, kEmbeddingWidthFieldMost}, set_dimensions},
    {{"user", FieldType::kText, 0, 1024}},
};

}  // namespace

FieldForm openai_embeddings_form() {
  return field_form("OpenAiEmbeddingsRequest", kFields, {"input"});
}

RequestResult<EmbedJob> read_openai_embeddings(std::string_view body) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  EmbedJob job;
  if (auto read = read_fields<EmbedJob>(*object, kFields, job); !read) {
    return tl::unexpected(read.error());
  }
  if (job.inputs.empty()) {
    return refuse_field(ErrorKind::kInvalid, "input", "the request has no input");
  }
  return job;
}

std::string openai_embeddings_body(const Embeddings& embeddings) {
  std::vector<std::string> data;
  for (const std::string& vector : embeddings.vectors) {
    data.push_back(
        fmt::format(R"({{"object":"embedding","index":{},"embedding":{}}})", data.size(), vector));
  }
  const Json usage = {{"prompt_tokens", embeddings.tokens}, {"total_tokens", embeddings.tokens}};
  return fmt::format(R"({{"object":"list","data":{},"model":{},"usage":{}}})", json_list(data),
                     wire_text(embeddings.model), wire_text(usage));
}

std::vector<Route> openai_embedding_routes(ModelPool& pool) {
  return {{.method = "POST",
           .path = "/v1/embeddings",
           .handler =
               [&pool](const WebRequest& http, const std::shared_ptr<Exchange>& exchange) {
                 auto job = read_openai_embeddings(http.body);
                 if (!job) return exchange->reply(openai_error_reply(job.error()));
                 start_embed(
                     pool, http, std::move(*job),
                     [exchange](const RequestResult<Embeddings>& made) {
                       if (!made) return exchange->reply(openai_error_reply(made.error()));
                       exchange->reply({.body = openai_embeddings_body(*made)});
                     },
                     *exchange);
               },
           .about = {.group = "OpenAI",
                     .summary = "Vectors of texts",
                     .body = "OpenAiEmbeddingsRequest",
                     .reply = "OpenAiEmbeddingsReply"}}};
}

}  // namespace hadal
