#include "hub/network/http_rules.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(HttpRulesTest, Origins) {
  EXPECT_EQ(*origin_of("https://HuggingFace.co/a/b?c#d"), "https://huggingface.co");
  EXPECT_EQ(*origin_of("https://huggingface.co:443/a"), "https://huggingface.co");
  EXPECT_EQ(*origin_of("http://localhost:8080/"), "http://localhost:8080");
  EXPECT_EQ(*host_of("http://localhost:8080/"), "localhost:8080");
  for (const std::string& url :
       {std::string("file:///etc/passwd"), std::string("ftp://a/b"), std::string("https://"),
        std::string("a"), std::string("https://user:secret@a/b"), std::string("https://a/b c"),
        std::string("https://a/\r\nHost: b"), std::string("javascript:x"),
        "https://a/" + std::string(kUrlBytesMax, 'a')}) {
    const auto origin = origin_of(url);
    EXPECT_FALSE(origin) << url;
    if (!origin) {
      EXPECT_EQ(origin.error().message.find("secret"), std::string::npos);
    }
  }
}

TEST(HttpRulesTest, Endpoints) {
  EXPECT_EQ(*normal_endpoint("hf-mirror.com"), "https://hf-mirror.com");
  EXPECT_EQ(*normal_endpoint(" https://hf-mirror.com/// "), "https://hf-mirror.com");
  EXPECT_EQ(*normal_endpoint("http://localhost:8000/hf"), "http://localhost:8000/hf");
  for (const char* text : {"", "https://a/?b", "https://a/#b", "https://u:p@a", "ftp://a"})
    EXPECT_FALSE(normal_endpoint(text)) << text;
}

TEST(HttpRulesTest, Redirects) {
  EXPECT_EQ(*redirect_target("https://a/b/c", "/d?e=f#g"), "https://a/d?e=f");
  EXPECT_EQ(*redirect_target("https://a/b/c", "d"), "https://a/b/d");
  EXPECT_EQ(*redirect_target("https://a/b", "https://cdn.x/y"), "https://cdn.x/y");
  EXPECT_EQ(*redirect_target("https://a/b", "//cdn.x/y"), "https://cdn.x/y");
  EXPECT_EQ(*redirect_target("http://a/b", "https://a/b"), "https://a/b");
  EXPECT_FALSE(redirect_target("https://a/b", "http://a/b")) << "https is kept";
  EXPECT_FALSE(redirect_target("https://a/b", "file:///etc/passwd"));
  EXPECT_FALSE(redirect_target("https://a/b", "https://u:p@c/"));
  EXPECT_FALSE(redirect_target("https://a/b", "https://c/\nx"));
  EXPECT_FALSE(redirect_target("https://a/b", std::string(kUrlBytesMax + 1, 'a')));
}

TEST(HttpRulesTest, ATokenIsSentToItsOwnOriginAlone) {
  const Credentials credentials{.origin = "https://huggingface.co", .token = "hf_x"};
  EXPECT_EQ(credential_headers("https://huggingface.co/a", credentials),
            std::vector<std::string>{"Authorization: Bearer hf_x"});
  for (const char* url : {"https://cdn.huggingface.co/a", "http://huggingface.co/a",
                          "https://huggingface.co.evil.com/a", "https://huggingface.co:8443/a",
                          "https://evil.com/huggingface.co", "https://huggingface.co@evil.com/"}) {
    EXPECT_TRUE(credential_headers(url, credentials).empty()) << url;
  }
  EXPECT_TRUE(credential_headers("https://huggingface.co/a",
                                 {.origin = "https://huggingface.co", .token = ""})
                  .empty());
  const Credentials modelscope{
      .origin = "https://modelscope.cn", .token = "t", .as_cookie_too = true};
  EXPECT_EQ(credential_headers("https://modelscope.cn/a", modelscope).size(), 2u);
}

TEST(HttpRulesTest, Tokens) {
  EXPECT_EQ(*clean_token(" hf_abc\n"), "hf_abc");
  EXPECT_EQ(*clean_token(""), "");
  for (const char* text : {"a b", "a\r\nX: y", "a;b", "a,b", "\x80"}) {
    const auto token = clean_token(text);
    ASSERT_FALSE(token);
    EXPECT_EQ(token.error().message.find(text), std::string::npos);
  }
}

TEST(HttpRulesTest, ContentRanges) {
  const auto range = parse_content_range("bytes 10-19/100");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->range, (ByteRange{10, 20}));
  EXPECT_EQ(range->total, 100u);
  EXPECT_FALSE(parse_content_range("bytes 0-9/*")->total);
  for (const char* text :
       {"", "bytes", "bytes 9-5/100", "bytes 0-100/100", "bytes -5/10", "bytes 0-/10",
        "items 0-1/2", "bytes */10", "bytes 0-18446744073709551615/*",
        "bytes 0-1/99999999999999999999", "bytes 0x1-2/3", "bytes 1/2-3"}) {
    EXPECT_FALSE(parse_content_range(text)) << text;
  }
}

TEST(HttpRulesTest, RetryAfter) {
  EXPECT_EQ(parse_retry_after(" 120 ", 0), 120.0);
  EXPECT_EQ(parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10), 50.0);
  EXPECT_EQ(parse_retry_after("Thu, 01 Jan 1970 00:00:05 GMT", 10), 0.0);
  EXPECT_FALSE(parse_retry_after("soon", 0));
  EXPECT_FALSE(parse_retry_after("", 0));
}

TEST(HttpRulesTest, Links) {
  EXPECT_EQ(next_link("<https://a/?cursor=1>; rel=\"next\""), "https://a/?cursor=1");
  EXPECT_EQ(next_link("<https://a/0>; rel=\"prev\", <https://a/2>; rel=\"next\""), "https://a/2");
  EXPECT_EQ(next_link("<https://a/0>; rel=\"prev\""), "");
  EXPECT_EQ(next_link("nonsense > <"), "");
}

TEST(HttpRulesTest, HeadersAreBounded) {
  HeaderReader reader;
  EXPECT_TRUE(reader.add_line("HTTP/1.1 302 Found\r\n"));
  EXPECT_TRUE(reader.add_line("Location: /a\r\n"));
  EXPECT_TRUE(reader.add_line("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(reader.get("location"), "") << "that of an earlier response";
  EXPECT_TRUE(reader.add_line("X-A:  b \r\n"));
  EXPECT_TRUE(reader.add_line("x-a: c\r\n"));
  EXPECT_EQ(reader.get("x-a"), "b, c");
  const std::string line = "X: " + std::string(1000, 'x') + "\r\n";
  bool taken = true;
  for (size_t bytes = 0; bytes <= HeaderReader::kBytesMax && taken; bytes += line.size())
    taken = reader.add_line(line);
  EXPECT_FALSE(taken);
}

TEST(HttpRulesTest, PercentEncoding) {
  EXPECT_EQ(percent_encoded("a b/c?d&e%"), "a%20b%2Fc%3Fd%26e%25");
  EXPECT_EQ(percent_encoded("a/b", "/"), "a/b");
  EXPECT_EQ(percent_encoded("模"), "%E6%A8%A1");
}

}  // namespace
}  // namespace hadal
