// The access log: a line of JSON for each request, to a file or to standard output.
//
// {"time": "2026-01-31T12:00:00.123Z", "id", "client", "key", "method", "path", "status",
//  "complete", "prompt_tokens", "answer_tokens", "ms"}, see http/request_record.h.
//
// Requests never wait for it: lines go through a bounded buffer to a thread that writes them. Where
// the disk is slower than that for long, or full, lines are lost, and counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "server/http/request_record.h"

namespace hadal {

struct AccessLogOptions {
  std::filesystem::path path;  // "-": standard output
  // What a person should know: once when lines begin to be lost, once when they no longer are. On
  // the log's thread.
  std::function<void(const std::string&)> on_trouble = [](const std::string&) {};
  size_t waiting_bytes_max = 1 << 20;
  uint32_t last_seconds = 2;  // for what waits to be written when it is closed
};

class AccessLog final : public RequestLog {
 public:
  // Errors: the file cannot be opened for appending.
  static Result<std::shared_ptr<AccessLog>> open(AccessLogOptions options);
  // Begins to write, on a thread of its own; what was told before waits until then.
  void start();
  ~AccessLog() override;

  void tell(const RequestRecord& record) noexcept override;
  void reopen();  // soon; where that fails, the old file is kept. For who moves files away
  uint64_t lost() const;

 private:
  struct State;
  explicit AccessLog(std::shared_ptr<State> state);

  const std::shared_ptr<State> state_;  // the thread's too: it may be stuck in a write at the end
  std::thread thread_;
};

// Whether the folder of the file holds nothing but it and what older files of it are called
// (access.log.1): then it can be given to the process as a place to write in.
bool has_folder_of_its_own(const std::filesystem::path& path);

// Without its line's end. Whatever a client sent stands in it as JSON: no control characters.
std::string access_log_line(const RequestRecord& record);

}  // namespace hadal
