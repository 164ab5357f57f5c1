#include "server/dialects/wire.h"

#include <random>

#include "base/json.h"

namespace hadal {

namespace {

template <typename Run>
void end_with_client(Exchange& exchange, const std::shared_ptr<Run>& run) {
  exchange.on_gone([weak = std::weak_ptr(run)] {
    if (const auto running = weak.lock()) running->cancel();
  });
  exchange.on_cut([weak = std::weak_ptr(run)] {
    if (const auto running = weak.lock()) running->cut_off();
  });
}

}  // namespace

std::string wire_text(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

WebReply json_reply(const nlohmann::ordered_json& body) {
  return {.body = wire_text(body)};
}

std::string random_id(std::string_view prefix) {
  std::random_device random;
  return fmt::format("{}{:08x}{:08x}{:08x}", prefix, random(), random(), random());
}

std::string json_list(std::span<const std::string> entries) {
  std::string text = "[";
  size_t bytes = 2;
  for (const std::string& entry : entries) bytes += entry.size() + 1;
  text.reserve(bytes);
  for (const std::string& entry : entries) {
    if (text.size() > 1) text += ',';
    text += entry;
  }
  text += ']';
  return text;
}

void start_chat(ModelPool& pool, const WebRequest& request, ChatJob job,
                std::shared_ptr<ChatReader> reader, Exchange& exchange) {
  job.cache_salt = request.caller.cache_salt;
  job.record = request.record;
  end_with_client(exchange, ChatRun::start(pool, std::move(job), std::move(reader)));
}

void start_embed(ModelPool& pool, const WebRequest& request, EmbedJob job, EmbedRun::Done done,
                 Exchange& exchange) {
  job.cache_salt = request.caller.cache_salt;
  job.record = request.record;
  end_with_client(exchange, EmbedRun::start(pool, std::move(job), std::move(done)));
}

}  // namespace hadal
