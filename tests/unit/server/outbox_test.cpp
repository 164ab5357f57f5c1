#include "server/http/outbox.h"

#include <gtest/gtest.h>

#include "server/http/exchange.h"

namespace hadal {
namespace {

struct Wire {
  explicit Wire(const Outbox::Options& options = {})
      : outbox(std::make_shared<Outbox>(options, [this] { ++wakes; })) {}

  // What the I/O thread would write now.
  std::string take() {
    std::string bytes;
    outbox->take(bytes);
    outbox->written(bytes.size());
    return bytes;
  }

  int wakes = 0;
  std::shared_ptr<Outbox> outbox;
};

std::string body_of(const std::string& response) {
  const size_t end = response.find("\r\n\r\n");
  return end == std::string::npos ? "no end of headers" : response.substr(end + 4);
}

TEST(Outbox, AWholeAnswerHasItsLength) {
  Wire wire;
  wire.outbox->reply({.status = 404, .body = "{}", .headers = {{"Allow", "GET"}}});
  EXPECT_EQ(wire.wakes, 1);
  const std::string bytes = wire.take();
  EXPECT_TRUE(bytes.starts_with("HTTP/1.1 404 Not Found\r\n")) << bytes;
  EXPECT_NE(bytes.find("\r\nContent-Length: 2\r\n"), std::string::npos);
  EXPECT_NE(bytes.find("\r\nAllow: GET\r\n"), std::string::npos);
  EXPECT_NE(bytes.find("\r\nConnection: keep-alive\r\n"), std::string::npos);
  EXPECT_EQ(body_of(bytes), "{}");
  EXPECT_TRUE(wire.outbox->done());
  wire.outbox->reply({.body = "late"});
  EXPECT_EQ(wire.take(), "");
}

TEST(Outbox, NothingIsCachedUnlessTheAnswerSaysHow) {
  Wire wire, own;
  wire.outbox->reply({});
  EXPECT_NE(wire.take().find("\r\nCache-Control: no-store\r\n"), std::string::npos);
  own.outbox->reply({.headers = {{"Cache-Control", "no-cache"}}});
  const std::string bytes = own.take();
  EXPECT_NE(bytes.find("\r\nCache-Control: no-cache\r\n"), std::string::npos);
  EXPECT_EQ(bytes.find("no-store"), std::string::npos);
}

TEST(Outbox, AStreamIsChunked) {
  Wire wire;
  wire.outbox->begin({});
  EXPECT_TRUE(wire.outbox->write("hello"));
  EXPECT_TRUE(wire.outbox->write(""));
  EXPECT_FALSE(wire.outbox->done());
  wire.outbox->end();
  EXPECT_EQ(wire.wakes, 1);  // until somebody takes
  const std::string bytes = wire.take();
  EXPECT_NE(bytes.find("\r\nTransfer-Encoding: chunked\r\n"), std::string::npos);
  EXPECT_NE(bytes.find("\r\nContent-Type: text/event-stream\r\n"), std::string::npos);
  EXPECT_EQ(body_of(bytes), "5\r\nhello\r\n0\r\n\r\n");
  EXPECT_TRUE(wire.outbox->done());
  EXPECT_FALSE(wire.outbox->write("late"));
}

TEST(Outbox, NoContentHasNoLength) {
  Wire wire;
  wire.outbox->reply({.status = 204});
  const std::string bytes = wire.take();
  EXPECT_TRUE(bytes.starts_with("HTTP/1.1 204 No Content\r\n"));
  EXPECT_EQ(bytes.find("\r\nContent-"), std::string::npos);
  EXPECT_TRUE(wire.outbox->done());
}

TEST(Outbox, AnOldClientsStreamEndsWithTheConnection) {
  Wire wire({.http_1_0 = true});
  wire.outbox->begin({});
  wire.outbox->write("hello");
  wire.outbox->end();
  const std::string bytes = wire.take();
  EXPECT_TRUE(bytes.starts_with("HTTP/1.0 200 OK\r\n"));
  EXPECT_EQ(body_of(bytes), "hello");
  EXPECT_FALSE(wire.outbox->keep_alive());
}

TEST(Outbox, HeadHasNoBody) {
  Wire wire({.without_body = true});
  wire.outbox->reply({.body = "four"});
  const std::string bytes = wire.take();
  EXPECT_NE(bytes.find("\r\nContent-Length: 4\r\n"), std::string::npos);
  EXPECT_EQ(body_of(bytes), "");
}

TEST(Outbox, ASlowReaderIsGivenUp) {
  Wire wire({.unread_bytes_max = 1000});
  wire.outbox->begin({});
  wire.take();
  const std::string piece(100, 'x');
  int pieces = 0;
  while (wire.outbox->write(piece)) ++pieces;
  EXPECT_GE(pieces, 8);
  EXPECT_LE(pieces, 10);
  EXPECT_TRUE(wire.outbox->broken());
  EXPECT_EQ(wire.take(), "");
}

TEST(Outbox, GivingUpAReaderIsNewsWhileItIsWaitedFor) {
  Wire wire({.unread_bytes_max = 1000});
  wire.outbox->begin({});
  wire.take();
  wire.outbox->write("x");
  const int wakes = wire.wakes;  // nobody takes that one
  EXPECT_FALSE(wire.outbox->write(std::string(2000, 'x')));
  EXPECT_EQ(wire.wakes, wakes + 1);
}

TEST(Outbox, WhatIsBeingWrittenCountsAsUnread) {
  Wire wire({.unread_bytes_max = 1000});
  wire.outbox->begin({});
  wire.take();
  const std::string piece(600, 'x');
  EXPECT_TRUE(wire.outbox->write(piece));
  std::string bytes;
  ASSERT_TRUE(wire.outbox->take(bytes));
  EXPECT_FALSE(wire.outbox->write(piece));
}

TEST(Outbox, TheAskerHearsOnceThatTheClientLeft) {
  Wire wire;
  int gone = 0;
  wire.outbox->on_gone([&] { ++gone; });
  wire.outbox->begin({});
  wire.outbox->leave();
  wire.outbox->leave();
  EXPECT_EQ(gone, 1);
  EXPECT_FALSE(wire.outbox->write("x"));
  wire.outbox->on_gone([&] { ++gone; });
  EXPECT_EQ(gone, 2);
}

TEST(Outbox, NobodyIsGoneAfterTheEnd) {
  Wire wire;
  int gone = 0;
  wire.outbox->on_gone([&] { ++gone; });
  wire.outbox->reply({});
  wire.take();
  wire.outbox->leave();
  EXPECT_EQ(gone, 0);
}

TEST(Outbox, SilenceIsBroken) {
  Wire wire;
  const auto begin = Outbox::Clock::now();
  wire.outbox->begin({.heartbeat = ": hm\n\n"});
  wire.take();
  wire.outbox->beat(begin + std::chrono::seconds(5), std::chrono::seconds(15));
  EXPECT_EQ(wire.take(), "");
  wire.outbox->beat(begin + std::chrono::seconds(16), std::chrono::seconds(15));
  EXPECT_EQ(wire.take(), "6\r\n: hm\n\n\r\n");
}

TEST(Outbox, AProbeOfAStreamIsItsFiller) {
  for (const bool old : {false, true}) {
    Wire events({.http_1_0 = old}), lines({.http_1_0 = old});
    const auto chunk = [old](const char* plain, const char* chunked) {
      return std::string(old ? plain : chunked);
    };
    events.outbox->begin({.heartbeat = ": hm\n\n"});
    lines.outbox->begin({.filler = " "});
    events.take(), lines.take();
    for (int i = 0; i < 3; ++i) {
      events.outbox->probe(), lines.outbox->probe();
      EXPECT_EQ(events.take(), chunk(": hm\n\n", "6\r\n: hm\n\n\r\n"));
      EXPECT_EQ(lines.take(), chunk(" ", "1\r\n \r\n"));
    }
    lines.outbox->end("{}\n");
    EXPECT_EQ(lines.take(), chunk("{}\n", "3\r\n{}\n\r\n0\r\n\r\n"));
    lines.outbox->probe();
    EXPECT_EQ(lines.take(), "");
  }
}

// However often it is probed, and whatever it is then.
TEST(Outbox, AProbeBeforeTheAnswerIsItsBeginning) {
  for (const bool old : {false, true}) {
    for (int probes = 0; probes < 20; ++probes) {
      Wire whole({.http_1_0 = old}), stream({.http_1_0 = old});
      std::string text, stream_text;
      for (int i = 0; i < probes; ++i) {
        whole.outbox->probe(), stream.outbox->probe();
        text += whole.take(), stream_text += stream.take();
      }
      EXPECT_EQ(text.size(), std::min(probes, 9)) << "HTTP/1.x and a space have nine";
      whole.outbox->reply({.status = 404, .body = "no"});
      stream.outbox->begin({});
      text += whole.take(), stream_text += stream.take();
      EXPECT_TRUE(text.starts_with(old ? "HTTP/1.0 404 Not" : "HTTP/1.1 404 Not")) << text;
      EXPECT_TRUE(stream_text.starts_with(old ? "HTTP/1.0 200 OK" : "HTTP/1.1 200 OK"))
          << stream_text;
      EXPECT_TRUE(whole.outbox->done());
    }
  }
}

TEST(Outbox, AHeaderCannotBeginAnother) {
  Wire wire;
  wire.outbox->reply({.headers = {{"X-Name", "a\r\nSet-Cookie: b"}}});
  EXPECT_NE(wire.take().find("\r\nX-Name: aSet-Cookie: b\r\n"), std::string::npos);
}

TEST(Exchange, AForgottenRequestIsAnswered) {
  Wire wire;
  { Exchange exchange(wire.outbox, {.status = 500, .body = "sorry"}); }
  EXPECT_TRUE(wire.take().ends_with("\r\n\r\nsorry"));
  Wire streamed;
  {
    Exchange exchange(streamed.outbox, {.status = 500, .body = "sorry"});
    exchange.begin({});
    exchange.write("a");
  }
  EXPECT_TRUE(streamed.outbox->broken());
  EXPECT_EQ(streamed.take(), "");
  EXPECT_FALSE(streamed.outbox->done());
}

TEST(Exchange, AnEndedAnswerIsNotBrokenOff) {
  Wire wire;
  {
    Exchange exchange(wire.outbox, {.status = 500, .body = "sorry"});
    exchange.begin({});
    exchange.write("a");
    exchange.end();
  }
  EXPECT_FALSE(wire.outbox->broken());
  EXPECT_EQ(body_of(wire.take()), "1\r\na\r\n0\r\n\r\n");
}

}  // namespace
}  // namespace hadal
