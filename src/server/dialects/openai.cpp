#include "server/dialects/openai.h"

#include "base/json.h"
#include "server/dialects/openai_errors.h"
#include "server/dialects/openai_reply.h"
#include "server/dialects/openai_request.h"
#include "server/dialects/openai_responses_reply.h"
#include "server/dialects/openai_responses_request.h"
#include "server/dialects/wire.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

// Reads a request of any of the three forms and begins its answer.
template <auto Read, auto MakeReply>
Handler answering(ModelPool& pool) {
  return [&pool](const WebRequest& http, const std::shared_ptr<Exchange>& exchange) {
    auto request = Read(http.body);
    if (!request) return exchange->reply(openai_error_reply(request.error()));
    auto reader = MakeReply(*request, exchange);
    start_chat(pool, http, std::move(request->job), std::move(reader), *exchange);
  };
}

Json model_json(const ModelStatus& model) {
  return {{"id", model.entry.name},
          {"object", "model"},
          {"created", model.entry.created_unix_seconds},
          {"owned_by", "hadal"},
          {"root", model.entry.name},
          {"loaded", model.state == ModelState::kLoaded},
          {"answers", model.answers},
          {"max_model_len", model.context_tokens == 0 ? Json() : Json(model.context_tokens)}};
}

WebReply list_models(const ModelPool& pool) {
  Json list = Json::array();
  for (const ModelStatus& model : pool.list()) list.push_back(model_json(model));
  return json_reply({{"object", "list"}, {"data", std::move(list)}});
}

WebReply show_model(const ModelPool& pool, const std::string& name) {
  const auto model = pool.find(name);
  if (model) return json_reply(model_json(*model));
  return openai_error_reply({.kind = ErrorKind::kNotFound,
                             .message = "this server has no model of that name; GET /v1/models "
                                        "lists them",
                             .field = "model"});
}

}  // namespace

std::vector<Route> openai_routes(ModelPool& pool) {
  return {
      {.method = "POST",
       .path = "/v1/chat/completions",
       .handler = answering<read_openai_chat, make_openai_reply>(pool),
       .about = {.group = "OpenAI",
                 .summary = "Answer a conversation",
                 .body = "OpenAiChatRequest",
                 .reply = "OpenAiChatReply",
                 .stream_type = "text/event-stream",
                 .event = "OpenAiChatEvent"}},
      {.method = "POST",
       .path = "/v1/completions",
       .handler = answering<read_openai_completion, make_openai_reply>(pool),
       .about = {.group = "OpenAI",
                 .summary = "Continue a text",
                 .body = "OpenAiCompletionRequest",
                 .reply = "OpenAiCompletionReply",
                 .stream_type = "text/event-stream",
                 .event = "OpenAiCompletionEvent"}},
      {.method = "POST",
       .path = "/v1/responses",
       .handler = answering<read_responses_request, make_responses_reply>(pool),
       .about = {.group = "OpenAI",
                 .summary = "Answer a conversation, as items",
                 .body = "OpenAiResponsesRequest",
                 .reply = "OpenAiResponse",
                 .stream_type = "text/event-stream",
                 .event = "OpenAiResponseEvent"}},
      {.method = "GET",
       .path = "/v1/models",
       .runs_on = RunsOn::kIoThread,
       .handler = [&pool](
                      const WebRequest&,
                      std::shared_ptr<Exchange> exchange) { exchange->reply(list_models(pool)); },
       .about = {.group = "OpenAI",
                 .summary = "The models of this server",
                 .reply = "OpenAiModelList"}},
      {.method = "GET",
       .path = "/v1/models/*",
       .runs_on = RunsOn::kIoThread,
       .handler =
           [&pool](const WebRequest& request, std::shared_ptr<Exchange> exchange) {
             exchange->reply(show_model(pool, request.rest));
           },
       .about = {.group = "OpenAI",
                 .summary = "One model of this server",
                 .rest = "model",
                 .reply = "OpenAiModel"}},
  };
}

}  // namespace hadal
