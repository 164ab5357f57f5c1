#include "server/dialects/ollama.h"

#include "base/json.h"
#include "server/chat/job_prompt.h"
#include "server/dialects/ollama_embed.h"
#include "server/dialects/ollama_models.h"
#include "server/dialects/ollama_reply.h"
#include "server/dialects/ollama_request.h"
#include "server/dialects/wire.h"

namespace hadal {
namespace {

// Clients ask for the least version of Ollama that has what they need; this is the one whose
// addresses these are.
constexpr const char* kOllamaVersion = "0.12.6";

struct Ollama {
  explicit Ollama(ModelPool& models) : pool(models), models(models) {}
  ModelPool& pool;
  OllamaModels models;
};

bool unloads(const OllamaRequest& request) {
  return request.loads_only && request.keep_alive && *request.keep_alive == std::chrono::seconds(0);
}

// A request without a message only loads the model, or, with keep_alive 0, unloads it.
void load_only(Ollama& ollama, const OllamaRequest& request, const std::string& name,
               const std::shared_ptr<Exchange>& exchange) {
  const bool unload = unloads(request);
  WebReply reply{.body = ollama_load_body(request, name, unload ? "unload" : "load")};
  if (request.stream) {
    reply.body += '\n';
    reply.content_type = kNdjson;
  }
  if (unload && ollama.pool.find(request.job.model)) return exchange->reply(reply);
  with_model(ollama.pool, request.job.model,
             [reply = std::move(reply), exchange](RequestResult<ModelLease> lease) {
               exchange->reply(lease ? reply : ollama_error_reply(lease.error()));
             });
}

void answer(Ollama& ollama, const WebRequest& http, RequestResult<OllamaRequest> request,
            const std::shared_ptr<Exchange>& exchange) {
  if (!request) return exchange->reply(ollama_error_reply(request.error()));
  const std::string name = request->job.model;
  request->job.model = ollama.models.resolve(name);
  const auto model = ollama.pool.find(request->job.model);
  // What is not loaded needs no unloading, and whoever asks for it next none either.
  const bool idle = unloads(*request) && model && model->state == ModelState::kNotLoaded;
  if (request->keep_alive && !idle) {
    ollama.pool.set_keep_alive(request->job.model, *request->keep_alive);
  }
  if (request->loads_only) return load_only(ollama, *request, name, exchange);
  auto reader = make_ollama_reply(*request, name, exchange);
  start_chat(ollama.pool, http, std::move(request->job), std::move(reader), *exchange);
}

void embed(Ollama& ollama, const WebRequest& http, RequestResult<OllamaEmbedRequest> request,
           const std::shared_ptr<Exchange>& exchange) {
  using Clock = std::chrono::steady_clock;
  if (!request) return exchange->reply(ollama_error_reply(request.error()));
  const std::string name = request->job.model;
  request->job.model = ollama.models.resolve(name);
  if (request->keep_alive) {
    ollama.pool.set_keep_alive(request->job.model, *request->keep_alive);
  }
  EmbedJob job = std::move(request->job);
  auto reply = [exchange, name, request = std::move(*request),
                asked = Clock::now()](const RequestResult<Embeddings>& made) {
    if (!made) return exchange->reply(ollama_error_reply(made.error()));
    const double seconds = std::chrono::duration<double>(Clock::now() - asked).count();
    exchange->reply({.body = ollama_embed_body(request, name, *made, seconds)});
  };
  start_embed(ollama.pool, http, std::move(job), std::move(reply), *exchange);
}

}  // namespace

std::vector<Route> ollama_routes(ModelPool& pool) {
  const auto ollama = std::make_shared<Ollama>(pool);
  using Asker = std::shared_ptr<Exchange>;
  return {
      {.method = "POST",
       .path = "/api/chat",
       .handler =
           [ollama](const WebRequest& http, Asker exchange) {
             answer(*ollama, http, read_ollama_chat(http.body), exchange);
           },
       .about = {.group = "Ollama",
                 .summary = "Answer a conversation; without messages, load or unload a model",
                 .body = "OllamaChatRequest",
                 .reply = "OllamaChatReply",
                 .stream_type = kNdjson,
                 .event = "OllamaChatLine"}},
      {.method = "POST",
       .path = "/api/generate",
       .handler =
           [ollama](const WebRequest& http, Asker exchange) {
             answer(*ollama, http, read_ollama_generate(http.body), exchange);
           },
       .about = {.group = "Ollama",
                 .summary = "Answer a prompt; without one, load or unload a model",
                 .body = "OllamaGenerateRequest",
                 .reply = "OllamaGenerateReply",
                 .stream_type = kNdjson,
                 .event = "OllamaGenerateLine"}},
      {.method = "POST",
       .path = "/api/embed",
       .handler =
           [ollama](const WebRequest& http, Asker exchange) {
             embed(*ollama, http, read_ollama_embed(http.body), exchange);
           },
       .about = {.group = "Ollama",
                 .summary = "Vectors of texts; without any, load or unload a model",
                 .body = "OllamaEmbedRequest",
                 .reply = "OllamaEmbedReply"}},
      {.method = "POST",
       .path = "/api/embeddings",
       .handler =
           [ollama](const WebRequest& http, Asker exchange) {
             embed(*ollama, http, read_ollama_embeddings(http.body), exchange);
           },
       .about = {.group = "Ollama",
                 .summary = "The vector of a text, as older clients ask for it",
                 .body = "OllamaEmbeddingsRequest",
                 .reply = "OllamaEmbeddingsReply"}},
      {.method = "POST",
       .path = "/api/show",
       .handler = [ollama](const WebRequest& http,
                           Asker exchange) { exchange->reply(ollama->models.show(http.body)); },
       .about = {.group = "Ollama",
                 .summary = "What a model is",
                 .body = "OllamaShowRequest",
                 .reply = "OllamaShowReply"}},
      {.method = "GET",
       .path = "/api/tags",
       .handler = [ollama](const WebRequest&,
                           Asker exchange) { exchange->reply(ollama->models.tags()); },
       .about = {.group = "Ollama",
                 .summary = "The models of this server",
                 .reply = "OllamaModelList"}},
      {.method = "GET",
       .path = "/api/ps",
       .handler = [ollama](const WebRequest&,
                           Asker exchange) { exchange->reply(ollama->models.running()); },
       .about = {.group = "Ollama",
                 .summary = "The models that are loaded",
                 .reply = "OllamaModelList"}},
      {.method = "GET",
       .path = "/api/version",
       .runs_on = RunsOn::kIoThread,
       .handler =
           [](const WebRequest&, Asker exchange) {
             exchange->reply(json_reply({{"version", kOllamaVersion}}));
           },
       .about = {.group = "Ollama",
                 .summary = "The version of Ollama that these addresses are like",
                 .reply = "OllamaVersion"}},
  };
}

}  // namespace hadal
