// A request as a handler sees it, and a whole answer. Plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

struct RequestRecord;

using WebHeaders = std::vector<std::pair<std::string, std::string>>;

// Who asks, as far as the gate found out (access/).
struct Caller {
  std::string name;         // of the key; "": no key was needed
  uint64_t cache_salt = 0;  // requests share cached prompts only where it is the same
  // As long as it lives, the request is under way for the key's limit of such; null: no limit.
  std::shared_ptr<void> place;
};

struct WebRequest {
  std::string method;  // "GET"
  std::string path;    // decoded, without the query
  std::string query;   // as it came, without '?'
  std::string rest;    // what the route's '*' stands for
  WebHeaders headers;  // names in lower case
  std::string body;
  Caller caller;
  WebHeaders reply_headers;               // that the gate wants on every answer to it
  std::shared_ptr<RequestRecord> record;  // null: nobody keeps one
  std::shared_ptr<const void> charge;     // holds the body's share of HttpLimits::bodies_bytes_max

  // The first of that name (in lower case); "": there is none.
  std::string_view header(std::string_view name) const;
  size_t count(std::string_view name) const;  // headers of that name
};

struct WebReply {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  WebHeaders headers;
};

// Whether a Content-Encoding header names more than "identity".
bool body_is_coded(const WebRequest& request);

std::string lower_ascii(std::string_view text);

// "%2F" -> "/". False: not an encoding, or a control character in it.
bool percent_decoded(std::string_view text, std::string& decoded);

}  // namespace hadal
