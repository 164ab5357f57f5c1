#include "server/dialects/anthropic.h"

#include "base/json.h"
#include "server/chat/job_prompt.h"
#include "server/dialects/anthropic_errors.h"
#include "server/dialects/anthropic_reply.h"
#include "server/dialects/anthropic_request.h"
#include "server/dialects/wire.h"

namespace hadal {
namespace {

void answer(ModelPool& pool, const WebRequest& http, const std::shared_ptr<Exchange>& exchange) {
  auto request = read_anthropic_request(http.body);
  if (!request) return exchange->reply(anthropic_error_reply(request.error()));
  auto reader = make_anthropic_reply(*request, exchange);
  start_chat(pool, http, std::move(request->job), std::move(reader), *exchange);
}

void count(ModelPool& pool, const WebRequest& http, const std::shared_ptr<Exchange>& exchange) {
  auto request = read_anthropic_count(http.body);
  if (!request) return exchange->reply(anthropic_error_reply(request.error()));
  const auto job = std::make_shared<ChatJob>(std::move(request->job));
  with_model(pool, job->model, [job, exchange](RequestResult<ModelLease> lease) {
    if (!lease) return exchange->reply(anthropic_error_reply(lease.error()));
    const auto prompt = render_prompt(**lease, *job);
    if (!prompt) return exchange->reply(anthropic_error_reply(prompt.error()));
    exchange->reply(json_reply({{"input_tokens", prompt->tokens.size()}}));
  });
}

}  // namespace

std::vector<Route> anthropic_routes(ModelPool& pool) {
  return {
      {.method = "POST",
       .path = "/v1/messages",
       .handler = [&pool](const WebRequest& request,
                          std::shared_ptr<Exchange> exchange) { answer(pool, request, exchange); },
       .about = {.group = "Anthropic",
                 .summary = "Answer a conversation",
                 .body = "AnthropicRequest",
                 .reply = "AnthropicReply",
                 .stream_type = "text/event-stream",
                 .event = "AnthropicEvent"}},
      {.method = "POST",
       .path = "/v1/messages/count_tokens",
       .handler = [&pool](const WebRequest& request,
                          std::shared_ptr<Exchange> exchange) { count(pool, request, exchange); },
       .about = {.group = "Anthropic",
                 .summary = "Count the tokens of a conversation",
                 .body = "AnthropicCountRequest",
                 .reply = "AnthropicCountReply"}},
  };
}

}  // namespace hadal
