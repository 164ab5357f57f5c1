// The answer to one request on its way out: handlers and engine threads put bytes in, the
// connection's I/O thread takes them out. Frames them for HTTP (length, chunks, or the end of the
// connection for HTTP/1.0). A reader too slow for what it asked for is given up: never more than
// unread_bytes_max of a stream wait here.
//
// Threads: reply(), begin(), write(), end(), on_gone(), on_cut() from any, one after another; the
// rest from the I/O thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "server/http/message.h"

namespace hadal {

struct StreamHead {
  std::string content_type = "text/event-stream";
  std::string heartbeat;  // sent where nothing else was for a while; "": nothing is
  // Between two pieces it means nothing: it shows whether a client that sends no more still reads.
  std::string filler;  // "": the heartbeat
  WebHeaders headers;
};

class Outbox {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    bool http_1_0 = false;      // no chunks: a stream ends with the connection
    bool keep_alive = true;     // what the client wants
    bool without_body = false;  // HEAD
    size_t unread_bytes_max = 1 << 20;
    WebHeaders headers = {};  // of every answer, before its own
  };

  // wake: tells the I/O thread that there is something to take; called from any thread, not after
  // leave(). Where it lacks memory, whoever takes has to look of its own accord.
  Outbox(const Options& options, std::function<void()> wake);

  // A whole answer. Only the first answer counts.
  void reply(const WebReply& reply);
  // An answer in pieces. write() is false when nobody reads any more.
  void begin(const StreamHead& head);
  bool write(std::string_view bytes);
  void end(std::string_view last = {});  // with a last piece, behind which there is no filler
  // There will be no more of this answer: the connection ends where it is, so that nobody takes a
  // part for the whole.
  void break_off() noexcept;
  // Called once, on the I/O thread, if the client leaves before the end; at once if it has.
  void on_gone(std::function<void()> then);
  // Called at most once, on the I/O thread, if the answer has to end before its time: what it does
  // should end it with an error.
  void on_cut(std::function<void()> then);
  bool begun() const;

  // Appends what is to be written; false: nothing now.
  bool take(std::string& bytes);
  void written(size_t bytes);
  bool broken() const;  // the reader is too slow, or the answer broke off
  bool done() const;    // all is taken and written
  bool keep_alive() const;
  unsigned status() const;  // of the answer; 0: there is none yet
  void beat(Clock::time_point now, Clock::duration silence);
  // Sends what changes nothing for who reads (before the answer a byte of the status line's fixed
  // beginning, in a stream its filler), so that the system of a peer that is gone says so.
  void probe();
  // Ends the answer before its time: by on_cut, else by `instead`, else (it streams, and nobody
  // knows how to end it) by breaking off. False: all of it was out already.
  bool cut(const WebReply& instead);
  void leave();  // the client is gone, or the answer is out

 private:
  std::string head_text(unsigned status, std::string_view content_type, const WebHeaders& headers,
                        const size_t* length) const;
  std::string_view line_beginning() const;
  void append_chunk(std::string_view bytes);
  void give_up() noexcept;
  void wake_if_needed() noexcept;

  const Options options_;
  mutable std::mutex mutex_;
  std::function<void()> wake_;
  std::function<void()> gone_, cut_;
  std::string pending_, heartbeat_, filler_;
  size_t begun_early_ = 0;  // bytes of the status line that went ahead of it
  size_t in_flight_ = 0;
  Clock::time_point last_write_ = Clock::now();
  unsigned status_ = 0;
  bool begun_ = false, streams_ = false, ended_ = false, left_ = false, broken_ = false;
  bool chunked_ = false, keep_alive_ = true, woken_ = false;
};

}  // namespace hadal
