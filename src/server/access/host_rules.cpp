#include "server/access/host_rules.h"

#include <arpa/inet.h>

#include <algorithm>

namespace hadal {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// "name:8080" -> "name", "[::1]:8080" -> "::1".
std::optional<std::string> without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    if (end == host.npos) return std::nullopt;
    const std::string_view rest = host.substr(end + 1);
    if (!rest.empty() && (rest[0] != ':' || !is_port(rest.substr(1)))) return std::nullopt;
    return lower(host.substr(1, end - 1));
  }
  const size_t colon = host.find(':');
  if (colon != host.npos && !is_port(host.substr(colon + 1))) return std::nullopt;
  return lower(host.substr(0, colon));
}

bool is_address(const std::string& text) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, text.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

}  // namespace

bool host_is_ours(std::string_view host, const HostRules& rules) {
  const auto name = without_port(host);
  if (!name || name->empty()) return false;
  return *name == "localhost" || is_address(*name) ||
         std::ranges::find(rules.names, *name) != rules.names.end();
}

std::optional<std::string> as_host_name(std::string_view text) {
  std::string name = lower(text);
  const bool good = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
  if (!good) return std::nullopt;
  return name;
}

bool origin_is_welcome(std::string_view origin, std::string_view host, const HostRules& rules) {
  if (origin.empty()) return true;
  const std::string asked = lower(origin), own = lower(host);
  return asked == "http://" + own || asked == "https://" + own || origin_is_listed(origin, rules);
}

bool origin_is_listed(std::string_view origin, const HostRules& rules) {
  return !origin.empty() && std::ranges::find(rules.origins, lower(origin)) != rules.origins.end();
}

bool is_origin(std::string_view text) {
  const size_t colon = text.find("://");
  if (colon == 0 || colon == text.npos) return false;
  const std::string_view scheme = text.substr(0, colon), rest = text.substr(colon + 3);
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ||
           c == '+';
  };
  const auto of_host = [&](char c) { return plain(c) || c == ':' || c == '[' || c == ']'; };
  const auto host = without_port(rest);
  return std::ranges::all_of(scheme, plain) && std::ranges::all_of(rest, of_host) && host &&
         !host->empty();
}

}  // namespace hadal
