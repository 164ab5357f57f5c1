#include "server/http/router.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hadal {
namespace {

std::string plain_error(unsigned status, std::string_view message) {
  return fmt::format("{} {}", status, message);
}
std::string other_error(unsigned status, std::string_view) {
  return fmt::format("other {}", status);
}

Router table() {
  return Router({{.method = "GET", .path = "/v1/models"},
                 {.method = "GET", .path = "/v1/models/*"},
                 {.method = "DELETE", .path = "/v1/models/*"},
                 {.method = "POST", .path = "/api/chat"}},
                {{"/api/", other_error}, {"", plain_error}});
}

TEST(Router, FindsByMethodAndPath) {
  const Router router = table();
  WebRequest request{.method = "GET", .path = "/v1/models"};
  const auto found = router.find(request);
  ASSERT_TRUE(std::holds_alternative<const Route*>(found));
  EXPECT_EQ(std::get<const Route*>(found)->path, "/v1/models");
  request.method = "HEAD";
  EXPECT_TRUE(std::holds_alternative<const Route*>(router.find(request)));
}

TEST(Router, TheStarTakesTheRest) {
  const Router router = table();
  WebRequest request{.method = "DELETE", .path = "/v1/models/hf:a/b:q4"};
  const auto found = router.find(request);
  ASSERT_TRUE(std::holds_alternative<const Route*>(found));
  EXPECT_EQ(std::get<const Route*>(found)->method, "DELETE");
  EXPECT_EQ(request.rest, "hf:a/b:q4");
}

TEST(Router, SaysWhatIsWrongInTheDialectsWords) {
  const Router router = table();
  WebRequest request{.method = "GET", .path = "/v1/models/"};
  EXPECT_EQ(std::get<WebReply>(router.find(request)).status, 404u);
  request = {.method = "PUT", .path = "/v1/models/a"};
  const WebReply wrong = std::get<WebReply>(router.find(request));
  EXPECT_EQ(wrong.status, 405u);
  ASSERT_EQ(wrong.headers.size(), 1u);
  EXPECT_EQ(wrong.headers[0].second, "GET, DELETE");
  request = {.method = "GET", .path = "/api/chat"};
  EXPECT_EQ(std::get<WebReply>(router.find(request)).body, "other 405");
  EXPECT_EQ(router.error("/x", 413, "too long").body, "413 too long");
}

TEST(HttpMessage, PercentDecoding) {
  std::string decoded;
  EXPECT_TRUE(percent_decoded("/a%2Fb%e6%b7%b1", decoded));
  EXPECT_EQ(decoded, "/a/b深");
  for (const char* text : {"/%", "/%2", "/%zz", "/%00", "/%0a", "/%7F"}) {
    EXPECT_FALSE(percent_decoded(text, decoded)) << text;
  }
}

}  // namespace
}  // namespace hadal
