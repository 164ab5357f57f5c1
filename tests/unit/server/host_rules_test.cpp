#include "server/access/host_rules.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(HostRules, AddressesAndLocalhostAreOurs) {
  for (const char* host : {"127.0.0.1", "127.0.0.1:8080", "localhost", "LocalHost:80", "[::1]",
                           "[::1]:8080", "192.168.1.5:8080", "10.0.0.1"}) {
    EXPECT_TRUE(host_is_ours(host, {})) << host;
  }
}

TEST(HostRules, NamesAreNot) {
  for (const char* host :
       {"", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
        "127.0.0.1@evil.example", "localhost:x", "localhost:", ":8080", "[::1", "[::1]x", "[]",
        "localhost:123456", "a b", "127.1", "2130706433"}) {
    EXPECT_FALSE(host_is_ours(host, {})) << host;
  }
  EXPECT_TRUE(host_is_ours("Box.lan:8080", {.names = {"box.lan"}, .origins = {}}));
  EXPECT_FALSE(host_is_ours("x.box.lan", {.names = {"box.lan"}, .origins = {}}));
}

TEST(HostRules, ANameIsAsHostHeadersAreCompared) {
  EXPECT_EQ(as_host_name("GPU-Box_2.Lan"), "gpu-box_2.lan");
  EXPECT_TRUE(host_is_ours("GPU-Box:8080", {.names = {*as_host_name("GPU-Box")}, .origins = {}}));
  for (const char* none :
       {"", "box:8080", "https://box.lan", "box.lan/", "a b", "*.lan", "[::1]"}) {
    EXPECT_FALSE(as_host_name(none)) << none;
  }
}

TEST(HostRules, OnlyOurOwnPagesMayAsk) {
  EXPECT_TRUE(origin_is_welcome("", "localhost:8080", {}));
  EXPECT_TRUE(origin_is_welcome("http://localhost:8080", "localhost:8080", {}));
  EXPECT_TRUE(origin_is_welcome("https://localhost:8080", "LOCALHOST:8080", {}));
  for (const char* origin : {"null", "http://evil.example", "http://localhost", "file://",
                             "http://localhost:8081", "http://localhost:8080.evil.example"}) {
    EXPECT_FALSE(origin_is_welcome(origin, "localhost:8080", {})) << origin;
  }
  const HostRules rules{.names = {}, .origins = {"https://chat.example"}};
  EXPECT_TRUE(origin_is_welcome("https://chat.example", "localhost:8080", rules));
}

}  // namespace
}  // namespace hadal
