#include "server/dialects/openai.h"

#include <nlohmann/json.hpp>

#include "server/chat/chat_run.h"
#include "server/dialects/openai_errors.h"
#include "server/dialects/openai_reply.h"
#include "server/dialects/openai_request.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

void answer(ModelPool& pool, const WebRequest& http, RequestResult<OpenAiRequest> request,
            const std::shared_ptr<Exchange>& exchange) {
  if (!request) return exchange->reply(openai_error_reply(request.error()));
  request->job.cache_salt = http.caller.cache_salt;
  auto reader = make_openai_reply(*request, exchange);
  const auto run = ChatRun::start(pool, std::move(request->job), std::move(reader));
  exchange->on_gone([weak = std::weak_ptr(run)] {
    if (const auto running = weak.lock()) running->cancel();
  });
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

WebReply json_reply(const Json& body) {
  return {.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
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
       .handler =
           [&pool](const WebRequest& request, std::shared_ptr<Exchange> exchange) {
             answer(pool, request, read_openai_chat(request.body), exchange);
           },
       .about = {.group = "OpenAI",
                 .summary = "Answer a conversation",
                 .body = "OpenAiChatRequest",
                 .reply = "OpenAiChatReply",
                 .stream_type = "text/event-stream"}},
      {.method = "POST",
       .path = "/v1/completions",
       .handler =
           [&pool](const WebRequest& request, std::shared_ptr<Exchange> exchange) {
             answer(pool, request, read_openai_completion(request.body), exchange);
           },
       .about = {.group = "OpenAI",
                 .summary = "Continue a text",
                 .body = "OpenAiCompletionRequest",
                 .reply = "OpenAiCompletionReply",
                 .stream_type = "text/event-stream"}},
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
