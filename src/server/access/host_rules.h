// What keeps a web page that a person visits from talking to their server: the Host header must
// name this server (a page whose name was re-bound to 127.0.0.1 sends its own), and an Origin must
// be the server itself. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

struct HostRules {
  std::vector<std::string> names;  // further names of this server, lower case, without a port
  std::vector<std::string>
      origins;  // further ones that may ask from a browser: is_origin, lower case
};

// host: the header's value. An address in digits and "localhost" always name this server: no
// re-binding can forge them.
bool host_is_ours(std::string_view host, const HostRules& rules);

// A name of this server as HostRules has it; nullopt: with a port, or of other characters than
// names of hosts have, so that no Host header could match it.
std::optional<std::string> as_host_name(std::string_view text);

// origin: the header's value, "" where there was none (no browser, or a page's own GET).
bool origin_is_welcome(std::string_view origin, std::string_view host, const HostRules& rules);
// Whether it is another origin that was let in: its browser wants to be told so (CORS).
bool origin_is_listed(std::string_view origin, const HostRules& rules);
// "https://chat.example:8443": a scheme, a name or address, perhaps a port, and nothing behind it.
bool is_origin(std::string_view text);

}  // namespace hadal
