#include "server/dialects/wire.h"

#include <nlohmann/json.hpp>
#include <random>

namespace hadal {

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

void start_chat(ModelPool& pool, const WebRequest& request, ChatJob job,
                std::shared_ptr<ChatReader> reader, Exchange& exchange) {
  job.cache_salt = request.caller.cache_salt;
  const auto run = ChatRun::start(pool, std::move(job), std::move(reader));
  exchange.on_gone([weak = std::weak_ptr(run)] {
    if (const auto running = weak.lock()) running->cancel();
  });
}

}  // namespace hadal
