#include "server/access/gate.h"

#include <algorithm>
#include <string>

namespace hadal {
namespace {

constexpr size_t kAskedHeadersBytesMax = 1024;
constexpr std::string_view kBearer = "bearer ";

bool begins_with(std::string_view text, std::string_view lower_beginning) {
  return text.size() >= lower_beginning.size() &&
         std::ranges::equal(
             text.substr(0, lower_beginning.size()), lower_beginning,
             [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

// As OpenAI's clients send it, or Anthropic's. "": none.
std::string_view presented_key(const WebRequest& head) {
  const std::string_view authorization = head.header("authorization");
  if (!begins_with(authorization, kBearer)) return head.header("x-api-key");
  std::string_view key = authorization.substr(kBearer.size());
  while (key.starts_with(' ')) key.remove_prefix(1);
  return key;
}

bool is_header_list(std::string_view text) {
  return text.size() <= kAskedHeadersBytesMax && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == ',' || c == ' ';
         });
}

// A browser asks before it sends what a plain page could not: OPTIONS, without a key.
std::optional<GateRefusal> preflight(const WebRequest& head) {
  if (head.method != "OPTIONS" || head.header("access-control-request-method").empty()) return {};
  WebHeaders headers{{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
                     {"Access-Control-Max-Age", "600"}};
  const std::string_view asked = head.header("access-control-request-headers");
  if (!asked.empty() && is_header_list(asked)) {
    headers.emplace_back("Access-Control-Allow-Headers", std::string(asked));
  }
  return GateRefusal{204, {}, std::move(headers)};
}

std::optional<GateRefusal> judge_key(WebRequest& head, const Route* route, KeyRing& keys) {
  const bool open = route != nullptr && route->access == Access::kOpen;
  if (open || !keys.needed()) return {};
  const std::string_view presented = presented_key(head);
  const KeyHolder holder = keys.find(presented);
  if (holder.limiter == nullptr) {
    return GateRefusal{401,
                       presented.empty()
                           ? "this server wants a key: Authorization: Bearer KEY, or x-api-key: KEY"
                           : "this key is not, or no longer, one of this server's",
                       {{"WWW-Authenticate", "Bearer"}}};
  }
  head.caller.name = holder.name;
  head.caller.cache_salt = holder.cache_salt;
  if (head.method == "GET" || head.method == "HEAD") return {};
  const auto refused = holder.limiter->admit(KeyLimiter::Clock::now(), head.caller.place);
  if (!refused) return {};
  return GateRefusal{
      429, refused->message, {{"Retry-After", std::to_string(refused->retry_after_seconds)}}};
}

}  // namespace

Gate make_gate(HostRules rules, std::shared_ptr<KeyRing> keys) {
  return [rules = std::move(rules), keys = std::move(keys)](
             WebRequest& head, const Route* route) -> std::optional<GateRefusal> {
    const std::string_view host = head.header("host"), origin = head.header("origin");
    if (!host_is_ours(host, rules)) {
      return GateRefusal{403, "the Host header does not name this server", {}};
    }
    if (!origin_is_welcome(origin, host, rules)) {
      return GateRefusal{403, "pages of other origins may not ask this server", {}};
    }
    if (origin_is_listed(origin, rules)) {
      head.reply_headers = {{"Access-Control-Allow-Origin", std::string(origin)},
                            {"Access-Control-Expose-Headers", "Retry-After"},
                            {"Vary", "Origin"}};
      if (auto answer = preflight(head)) return answer;
    }
    return judge_key(head, route, *keys);
  };
}

}  // namespace hadal
