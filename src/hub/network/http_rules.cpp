#include "hub/network/http_rules.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "hub/names/hub_names.h"

namespace hadal {
namespace {

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

std::string part(const Url& url, CURLUPart what, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), what, &text, flags) != CURLUE_OK) return "";
  std::string result(text);
  curl_free(text);
  return result;
}

bool has_control_or_space(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c <= 0x20 || c == 0x7f; });
}

std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

Result<Url> parse_url(std::string_view text) {
  if (text.size() > kUrlBytesMax)
    return fail("an address of {} bytes; {} is the limit", text.size(), kUrlBytesMax);
  if (has_control_or_space(text))
    return fail("the address {} has spaces or control characters", shown(text));
  Url url(curl_url());
  const std::string copy(text);
  if (!url ||
      curl_url_set(url.get(), CURLUPART_URL, copy.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
    return fail("{} is no address", shown(text));
  }
  const std::string scheme = part(url, CURLUPART_SCHEME);
  if (scheme != "https" && scheme != "http") {
    return fail("{}: only https and http are fetched", shown(text));
  }
  if (!part(url, CURLUPART_USER).empty() || !part(url, CURLUPART_PASSWORD).empty()) {
    return fail("an address with a name or password in it is not used (host {})",
                shown(part(url, CURLUPART_HOST)));
  }
  if (part(url, CURLUPART_HOST).empty()) return fail("{} names no host", shown(text));
  return url;
}

std::string host_and_port(const Url& url) {
  const std::string port = part(url, CURLUPART_PORT);
  const std::string own = part(url, CURLUPART_SCHEME) == "https" ? "443" : "80";
  const std::string host = lower_case(part(url, CURLUPART_HOST));
  return port.empty() || port == own ? host : host + ":" + port;
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Result<std::string> origin_of(std::string_view text) {
  HADAL_TRY(const Url url, parse_url(text));
  return part(url, CURLUPART_SCHEME) + "://" + host_and_port(url);
}

Result<std::string> host_of(std::string_view text) {
  HADAL_TRY(const Url url, parse_url(text));
  return host_and_port(url);
}

Result<std::string> normal_endpoint(std::string_view given) {
  std::string text(trimmed(given));
  if (text.find("://") == std::string::npos) text = "https://" + text;
  while (text.ends_with('/')) text.pop_back();
  HADAL_TRY(const Url url, parse_url(text));
  if (!part(url, CURLUPART_QUERY).empty() || !part(url, CURLUPART_FRAGMENT).empty()) {
    return fail("{} is no endpoint: it has a query or a fragment", shown(text));
  }
  return text;
}

Result<std::string> redirect_target(const std::string& from, std::string_view location) {
  HADAL_TRY(const Url url, parse_url(from));
  const bool secure = part(url, CURLUPART_SCHEME) == "https";
  if (location.size() > kUrlBytesMax || has_control_or_space(location)) {
    return fail("it redirects to {}, which is no address", shown(location));
  }
  const std::string copy(location);
  // Relative to `from`, as a browser reads it.
  if (curl_url_set(url.get(), CURLUPART_URL, copy.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
    return fail("it redirects to {}, which is no address", shown(location));
  }
  curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
  const std::string target = part(url, CURLUPART_URL);
  HADAL_TRY(const Url checked, parse_url(target));
  if (secure && part(checked, CURLUPART_SCHEME) != "https") {
    return fail("it redirects from https to plain http ({}), which is not followed",
                shown(host_and_port(checked)));
  }
  return target;
}

std::vector<std::string> credential_headers(const std::string& url,
                                            const Credentials& credentials) {
  if (credentials.token.empty()) return {};
  const auto origin = origin_of(url);
  if (!origin || *origin != credentials.origin) return {};
  std::vector<std::string> headers{"Authorization: Bearer " + credentials.token};
  if (credentials.as_cookie_too) headers.push_back("Cookie: m_session_id=" + credentials.token);
  return headers;
}

Result<std::string> clean_token(std::string_view text) {
  const std::string_view token = trimmed(text);
  constexpr size_t kTokenBytesMax = 4096;
  const bool plain = std::all_of(token.begin(), token.end(), [](unsigned char c) {
    return c > 0x20 && c < 0x7f && c != ';' && c != ',';
  });
  if (!plain || token.size() > kTokenBytesMax) {
    return fail("the token has characters that no token has (it is not shown here)");
  }
  return std::string(token);
}

std::string percent_encoded(std::string_view text, std::string_view keep) {
  std::string result;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' ||
                       keep.find(c) != std::string_view::npos;
    result += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return result;
}

std::optional<ContentRange> parse_content_range(std::string_view text) {
  text = trimmed(text);
  if (!text.starts_with("bytes ")) return std::nullopt;
  text = trimmed(text.substr(6));
  const size_t dash = text.find('-'), slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash)
    return std::nullopt;
  const auto first = parse_number(text.substr(0, dash));
  const auto last = parse_number(text.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first || *last == UINT64_MAX) return std::nullopt;
  ContentRange result{{*first, *last + 1}, std::nullopt};
  if (text.substr(slash + 1) != "*") {
    result.total = parse_number(text.substr(slash + 1));
    if (!result.total || *result.total <= *last) return std::nullopt;
  }
  return result;
}

std::optional<double> parse_retry_after(std::string_view text, int64_t now) {
  text = trimmed(text);
  if (const auto seconds = parse_number(text)) return static_cast<double>(*seconds);
  const time_t date = curl_getdate(std::string(text).c_str(), nullptr);
  if (text.empty() || date == -1) return std::nullopt;
  return std::max(0.0, static_cast<double>(date - now));
}

std::string next_link(std::string_view header) {
  while (!header.empty()) {
    const size_t open = header.find('<'), close = header.find('>');
    if (open == std::string_view::npos || close == std::string_view::npos || close < open)
      return "";
    const std::string_view url = header.substr(open + 1, close - open - 1);
    header.remove_prefix(close + 1);
    const std::string_view parameters = header.substr(0, header.find('<'));
    if (parameters.find("rel=\"next\"") != std::string_view::npos ||
        parameters.find("rel=next") != std::string_view::npos) {
      return std::string(url);
    }
  }
  return "";
}

bool HeaderReader::add_line(std::string_view line) {
  bytes_ += line.size();
  if (bytes_ > kBytesMax) return false;
  // A status line begins a new response: that of a proxy or an interim one came before it.
  if (line.starts_with("HTTP/")) headers_.clear();
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return true;
  std::string name = lower_case(std::string(trimmed(line.substr(0, colon))));
  std::string& value = headers_[std::move(name)];
  if (!value.empty()) value += ", ";
  value += trimmed(line.substr(colon + 1));
  return true;
}

std::string HeaderReader::get(const std::string& name) const {
  const auto found = headers_.find(name);
  return found == headers_.end() ? "" : found->second;
}

}  // namespace hadal
