#include "server/page/page_routes.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "server/page/page.h"

namespace hadal {
namespace {

std::string header(const WebReply& reply, std::string_view name) {
  const auto found = std::ranges::find(reply.headers, name, &WebHeaders::value_type::first);
  return found == reply.headers.end() ? "" : found->second;
}

const PageFile& file(std::string_view path) {
  return *std::ranges::find(page_files(), path, &PageFile::path);
}

TEST(PageRoutes, TheFrontPageUnderItsPolicy) {
  const WebReply reply = page_reply("index.html", {});
  EXPECT_EQ(reply.status, 200u);
  EXPECT_EQ(reply.content_type, "text/html; charset=utf-8");
  EXPECT_EQ(reply.body, file("index.html").bytes);
  EXPECT_EQ(header(reply, "Content-Security-Policy"), kPagePolicy);
  EXPECT_EQ(kPagePolicy.find("unsafe"), std::string_view::npos);
}

TEST(PageRoutes, CompressedForWhoTakesIt) {
  const WebReply packed =
      page_reply("main.js", {.headers = {{"accept-encoding", "br, gzip , deflate"}}});
  EXPECT_EQ(header(packed, "Content-Encoding"), "gzip");
  EXPECT_EQ(packed.body, file("main.js").gzip);
  for (const char* coding : {"", "identity", "gzip;q=0", "br"}) {
    const WebReply plain = page_reply("main.js", {.headers = {{"accept-encoding", coding}}});
    EXPECT_EQ(header(plain, "Content-Encoding"), "") << coding;
    EXPECT_EQ(plain.body, file("main.js").bytes) << coding;
  }
}

TEST(PageRoutes, ACopyThatIsRightIsKept) {
  const std::string etag(file("main.js").etag);
  const WebReply kept =
      page_reply("main.js", {.headers = {{"if-none-match", "W/\"other\", " + etag}}});
  EXPECT_EQ(kept.status, 304u);
  EXPECT_EQ(kept.body, "");
  EXPECT_EQ(header(kept, "ETag"), etag);
  EXPECT_EQ(page_reply("main.js", {.headers = {{"if-none-match", "W/\"other\""}}}).status, 200u);
}

TEST(PageRoutes, NothingButTheFiles) {
  for (const char* path : {"", "no.js", "../index.html", "fonts", "fonts/", "/etc/passwd"}) {
    EXPECT_EQ(page_reply(path, {}).status, 404u) << path;
  }
}

TEST(PageRoutes, AreFoundWithoutAKey) {
  const Router router(page_routes(), {});
  for (const char* path : {"/", "/page/fonts/KaTeX_Main-Regular.woff2"}) {
    WebRequest request{.method = "GET", .path = path};
    const auto found = router.find(request);
    ASSERT_TRUE(std::holds_alternative<const Route*>(found)) << path;
    EXPECT_EQ(std::get<const Route*>(found)->access, Access::kOpen);
  }
}

}  // namespace
}  // namespace hadal
