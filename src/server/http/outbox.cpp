#include "server/http/outbox.h"

#include <fmt/format.h>

#include <boost/beast/http/status.hpp>
#include <ctime>
#include <new>

namespace hadal {
namespace {

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[64];
  const size_t length = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text, length};
}

// No value may begin a header of its own.
std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) line += c;
  }
  return line;
}

}  // namespace

Outbox::Outbox(const Options& options, std::function<void()> wake)
    : options_(options), wake_(std::move(wake)), keep_alive_(options.keep_alive) {}

void Outbox::reply(const WebReply& reply) {
  std::lock_guard lock(mutex_);
  if (begun_ || left_) return;
  const size_t length = reply.body.size();
  std::string whole = head_text(reply.status, reply.content_type, reply.headers, &length);
  if (!options_.without_body) whole += reply.body;
  pending_ += whole;
  status_ = reply.status;
  begun_ = ended_ = true;
  wake_if_needed();
}

void Outbox::begin(const StreamHead& head) {
  std::lock_guard lock(mutex_);
  if (begun_ || left_) return;
  chunked_ = !options_.http_1_0;
  if (!chunked_) keep_alive_ = false;
  heartbeat_ = head.heartbeat;
  filler_ = head.filler.empty() ? head.heartbeat : head.filler;
  pending_ += head_text(200, head.content_type, head.headers, nullptr);
  status_ = 200;
  begun_ = streams_ = true;
  last_write_ = Clock::now();
  wake_if_needed();
}

bool Outbox::write(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (left_ || broken_ || ended_ || !streams_) return false;
  if (bytes.empty()) return true;
  append_chunk(bytes);
  last_write_ = Clock::now();
  if (pending_.size() + in_flight_ <= options_.unread_bytes_max) {
    wake_if_needed();
  } else {
    give_up();
  }
  return !broken_;
}

void Outbox::end(std::string_view last) {
  std::lock_guard lock(mutex_);
  if (left_ || broken_ || ended_ || !streams_) return;
  if (!last.empty()) append_chunk(last);
  if (chunked_ && !options_.without_body) pending_ += "0\r\n\r\n";
  ended_ = true;
  wake_if_needed();
}

void Outbox::break_off() noexcept {
  std::lock_guard lock(mutex_);
  if (!left_ && !ended_) give_up();
}

void Outbox::on_gone(std::function<void()> then) {
  {
    std::lock_guard lock(mutex_);
    if (!left_) {
      gone_ = std::move(then);
      return;
    }
    if (ended_) return;
  }
  then();
}

void Outbox::on_cut(std::function<void()> then) {
  std::lock_guard lock(mutex_);
  if (!left_ && !ended_) cut_ = std::move(then);
}

bool Outbox::begun() const {
  std::lock_guard lock(mutex_);
  return begun_ || left_;
}

bool Outbox::take(std::string& bytes) {
  std::lock_guard lock(mutex_);
  woken_ = false;
  if (pending_.empty()) return false;
  bytes += pending_;
  in_flight_ += pending_.size();
  pending_.clear();
  return true;
}

void Outbox::written(size_t bytes) {
  std::lock_guard lock(mutex_);
  in_flight_ -= bytes;
}

bool Outbox::broken() const {
  std::lock_guard lock(mutex_);
  return broken_;
}

bool Outbox::done() const {
  std::lock_guard lock(mutex_);
  return ended_ && pending_.empty() && in_flight_ == 0;
}

bool Outbox::keep_alive() const {
  std::lock_guard lock(mutex_);
  return keep_alive_;
}

unsigned Outbox::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void Outbox::beat(Clock::time_point now, Clock::duration silence) {
  std::lock_guard lock(mutex_);
  if (!streams_ || ended_ || left_ || heartbeat_.empty() || now - last_write_ < silence) return;
  append_chunk(heartbeat_);
  last_write_ = now;
  wake_if_needed();
}

void Outbox::probe() {
  std::lock_guard lock(mutex_);
  if (ended_ || left_ || broken_) return;
  if (begun_) {
    if (filler_.empty()) return;
    append_chunk(filler_);
  } else {
    if (begun_early_ == line_beginning().size()) return;
    pending_ += line_beginning()[begun_early_];
    ++begun_early_;
  }
  wake_if_needed();
}

bool Outbox::cut(const WebReply& instead) {
  std::function<void()> cut;
  {
    std::lock_guard lock(mutex_);
    if (left_ || broken_) return false;
    if (ended_) return !pending_.empty() || in_flight_ > 0;
    cut.swap(cut_);
  }
  if (cut) cut();
  reply(instead);
  break_off();
  return true;
}

void Outbox::leave() {
  std::function<void()> gone, cut;
  {
    std::lock_guard lock(mutex_);
    if (left_) return;
    left_ = true;
    wake_ = nullptr;
    pending_ = {};
    gone.swap(gone_);
    cut.swap(cut_);
    if (ended_) gone = nullptr;
  }
  if (gone) gone();
}

std::string Outbox::head_text(unsigned status, std::string_view content_type,
                              const WebHeaders& headers, const size_t* length) const {
  const auto reason =
      boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(status));
  std::string text =
      fmt::format("{}{} {}\r\nDate: {}\r\n", line_beginning().substr(begun_early_), status,
                  std::string_view(reason.data(), reason.size()), http_date());
  const bool has_content = status != 204;  // RFC 9110, 8.6: nor a length then
  if (has_content) text += fmt::format("Content-Type: {}\r\n", one_line(content_type));
  if (length != nullptr && has_content) {
    text += fmt::format("Content-Length: {}\r\n", *length);
  } else if (chunked_) {
    text += "Transfer-Encoding: chunked\r\n";
  }
  text += keep_alive_ ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  text += "X-Content-Type-Options: nosniff\r\n";
  bool says_how_to_cache = false;
  for (const WebHeaders* some : {&options_.headers, &headers}) {
    for (const auto& [name, value] : *some) {
      says_how_to_cache |= name == "Cache-Control";
      text += fmt::format("{}: {}\r\n", one_line(name), one_line(value));
    }
  }
  if (!says_how_to_cache) text += "Cache-Control: no-store\r\n";
  text += "\r\n";
  return text;
}

// Of any answer, whatever its status.
std::string_view Outbox::line_beginning() const {
  return options_.http_1_0 ? "HTTP/1.0 " : "HTTP/1.1 ";
}

void Outbox::append_chunk(std::string_view bytes) {
  if (options_.without_body) return;
  pending_ += !chunked_ ? std::string(bytes) : fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

void Outbox::give_up() noexcept {
  broken_ = true;
  pending_ = {};
  woken_ = false;  // news, even to a thread that waits for the reader
  wake_if_needed();
}

void Outbox::wake_if_needed() noexcept {
  if (woken_ || !wake_) return;
  try {
    wake_();
    woken_ = true;
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace hadal
