// Small answers from a hub, whole and in memory: lists of files, facts of a repository. Redirects
// are followed by the rules of http_rules.h; what a network breaks is tried again. One thread at a
// time.
#pragma once

#include <string>

#include "hub/network/curl_handle.h"

namespace hadal {

struct HttpReply {
  long status = 0;
  std::string url;  // after redirects
  HttpHeaders headers;
  std::string body;
};

class HttpClient {
 public:
  explicit HttpClient(NetworkOptions options) : options_(std::move(options)) {}

  // The answer, whatever its status. `what` names the thing asked for in messages. Errors: no
  // answer after some tries, too long, a forbidden redirect.
  Result<HttpReply> get(const HttpRequest& request, const std::string& what,
                        uint64_t body_bytes_max);
  // As get(), but a status other than 200 is an error that says what it means, and so is a web
  // page.
  Result<HttpReply> get_json(const HttpRequest& request, const std::string& what,
                             uint64_t body_bytes_max);
  // The headers alone, of the last redirect's target.
  Result<HttpReply> head(const HttpRequest& request, const std::string& what);

  const NetworkOptions& options() const { return options_; }

 private:
  enum class Method : uint8_t { kGet, kHead };
  Result<HttpReply> follow(HttpRequest request, Method method, const std::string& what,
                           uint64_t body_bytes_max);
  Result<HttpReply> persist(const HttpRequest& request, Method method, const std::string& what,
                            uint64_t body_bytes_max);

  NetworkOptions options_;
  CurlHandle handle_;
  uint32_t retries_worth_ = 0;  // of the last error
};

}  // namespace hadal
