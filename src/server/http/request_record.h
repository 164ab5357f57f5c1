// One request as whoever keeps a list of requests is told of it (metrics/access_log.h): never what
// was asked or answered, no key but by its name, no query. All who work for the request share its
// record; it is told when the last of them lets go, so also tokens that were computed for a client
// who had left are in it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace hadal {

struct RequestRecord;

class RequestLog {
 public:
  virtual ~RequestLog() = default;
  virtual void tell(const RequestRecord& record) noexcept = 0;  // any thread; at once
};

struct RequestRecord {
  explicit RequestRecord(std::shared_ptr<RequestLog> to) : log(std::move(to)) {}
  ~RequestRecord() { log->tell(*this); }
  RequestRecord(const RequestRecord&) = delete;
  RequestRecord& operator=(const RequestRecord&) = delete;

  const std::shared_ptr<RequestLog> log;

  // Of the I/O thread.
  std::chrono::system_clock::time_point time = std::chrono::system_clock::now();  // of its head
  std::string id;      // "req_..."; the answer's X-Request-Id
  std::string client;  // its address
  std::string key;     // its name; "": none was needed, or it was none of ours
  std::string method;  // "": it was no HTTP
  std::string path;    // the route's; what came, where there is no route
  unsigned status = 0;
  bool complete = false;  // the client has taken all of the answer
  double seconds = 0;     // until then, or until it left

  // Of any thread.
  std::atomic<uint64_t> prompt_tokens = 0, answer_tokens = 0;
};

}  // namespace hadal
