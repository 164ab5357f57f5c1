// A handler's end of one request: it owes exactly one answer, whole or in pieces, from any thread,
// now or later. One that is dropped without an answer answers itself (500), and one that is dropped
// amid an answer breaks off the connection, so no client waits for nothing or takes a part for the
// whole.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "server/http/outbox.h"

namespace hadal {

class Exchange {
 public:
  // error: what is replied where the handler replies nothing.
  Exchange(std::shared_ptr<Outbox> outbox, WebReply error)
      : outbox_(std::move(outbox)), error_(std::move(error)) {}
  ~Exchange() {
    try {
      if (!outbox_->begun()) outbox_->reply(error_);
    } catch (const std::bad_alloc&) {
    }
    outbox_->break_off();
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  void reply(const WebReply& reply) { outbox_->reply(reply); }
  void begin(const StreamHead& head) { outbox_->begin(head); }
  bool write(std::string_view bytes) { return outbox_->write(bytes); }
  void end(std::string_view last = {}) { outbox_->end(last); }
  bool begun() const { return outbox_->begun(); }
  // then: called once, on the I/O thread, if the client leaves before the answer's end.
  void on_gone(std::function<void()> then) { outbox_->on_gone(std::move(then)); }
  // then: called at most once, on the I/O thread, if the server has to end before the answer does.
  void on_cut(std::function<void()> then) { outbox_->on_cut(std::move(then)); }

 private:
  std::shared_ptr<Outbox> outbox_;
  WebReply error_;
};

}  // namespace hadal
