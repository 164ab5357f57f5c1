// What may be asked of whom, and what an answer may say: addresses, redirects, tokens, ranges. Pure
// functions over text; any thread. The rules that keep a token with its own hub are here and
// nowhere else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/network/byte_ranges.h"

namespace hadal {

inline constexpr int kRedirectsMax = 8;
inline constexpr size_t kUrlBytesMax = 8192;  // signed addresses of object stores have some 2000

// Who one is at one hub. Sent to requests of that origin and to no other, redirected ones included.
struct Credentials {
  std::string origin;  // "https://huggingface.co"; see origin_of()
  std::string token;   // "" = none
  bool as_cookie_too =
      false;  // ModelScope's older addresses know the token as the cookie m_session_id
};

struct HttpRequest {
  std::string url;
  Credentials credentials;
  std::vector<std::string> headers;  // more lines
};

// "https://host:port" in lower case, the port only where it is not the scheme's own.
// Errors: not http or https, no host, a user's name or password in it, control characters, too
// long.
Result<std::string> origin_of(std::string_view url);
Result<std::string> host_of(
    std::string_view url);  // for messages: "huggingface.co", "localhost:8080"

// An endpoint as people write it: https:// is put before a bare host name, slashes at the end go;
// no query, no fragment.
Result<std::string> normal_endpoint(std::string_view text);

// Where a redirect of `url` to `location` (absolute or relative) leads. Errors: origin_of()'s, or
// from https to http. The fragment is dropped.
Result<std::string> redirect_target(const std::string& url, std::string_view location);

// "Authorization: Bearer ..." and the cookie, if the request to `url` may carry them; else none.
std::vector<std::string> credential_headers(const std::string& url, const Credentials& credentials);
// A token as read from a file or the environment, without the space around it. Error (that does not
// show it): characters that are none of a token's.
Result<std::string> clean_token(std::string_view text);

// "a b/c" -> "a%20b%2Fc"; with `keep` left as they are.
std::string percent_encoded(std::string_view text, std::string_view keep = "");

// Response headers by name in lower case; one that comes twice is joined by ", ".
using HttpHeaders = std::map<std::string, std::string>;

struct ContentRange {
  ByteRange range;
  std::optional<uint64_t> total;  // nullopt: "*"
};
std::optional<ContentRange> parse_content_range(std::string_view text);  // "bytes 0-99/1000"

// "120" or an HTTP date, as seconds from now; nullopt if it is neither.
std::optional<double> parse_retry_after(std::string_view text, int64_t now_unix_seconds);

// The address of rel="next" in a Link header (a list goes on there); "" if there is none.
std::string next_link(std::string_view link_header);

// Headers of one response as the network brings them: a line at a time, bounded.
class HeaderReader {
 public:
  static constexpr size_t kBytesMax = 64 << 10;
  bool add_line(std::string_view line);  // false: too much of it
  const HttpHeaders& headers() const { return headers_; }
  std::string get(const std::string& lower_case_name) const;  // "" = not there

 private:
  HttpHeaders headers_;
  size_t bytes_ = 0;
};

}  // namespace hadal
