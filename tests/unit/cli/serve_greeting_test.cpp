// The line that a person pastes. That shells and curl take it is tests/e2e/serve_start_test.py's.
#include "cli/serve_greeting.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

TEST(ServeGreeting, APlainLine) {
  const Greeting greeting{.address = "http://127.0.0.1:8080", .model = "deepseek-r1:1.5b"};
  EXPECT_TRUE(has(greeting_line(greeting), "hadal serves at http://127.0.0.1:8080 (Ctrl-C ends)"));
  EXPECT_EQ(try_lines(greeting),
            "Try:\n  curl http://127.0.0.1:8080/v1/chat/completions -d "
            "'{\"model\":\"deepseek-r1:1.5b\",\"messages\":[{\"role\":\"user\",\"content\":"
            "\"Hello!\"}]}'\n");
}

TEST(ServeGreeting, NamesThatAShellOrJsonWouldTakeApart) {
  const auto line = [](const std::string& model) {
    return try_lines({.address = "http://127.0.0.1:8080", .model = model});
  };
  EXPECT_TRUE(has(line("it's"), R"("model":"it'\''s")"));
  EXPECT_TRUE(has(line("a\"b\\c"), R"("model":"a\"b\\c")"));
  EXPECT_TRUE(has(line("$(reboot) `x` !"), R"("model":"$(reboot) `x` !")"));
  EXPECT_TRUE(has(line("模型"), R"("model":"模型")"));
  EXPECT_TRUE(has(line("\x1b[31mred\x7f"), R"("model":"\u001b[31mred\u007f")"));
  EXPECT_FALSE(has(line("no UTF-8 \xff"), "model"));
}

TEST(ServeGreeting, KeysAndAddresses) {
  Greeting greeting{
      .address = "http://[::1]:8080", .other_machines = true, .model = "m", .keys = true};
  EXPECT_TRUE(has(greeting_line(greeting), "at http://[::1]:8080 on this machine, and"));
  const std::string text = try_lines(greeting);
  EXPECT_TRUE(has(text, "hadal key add"));
  EXPECT_TRUE(has(text, "-H \"Authorization: Bearer $HADAL_KEY\""));
  EXPECT_TRUE(has(text, "'http://[::1]:8080/v1/chat/completions'"));
}

TEST(ServeGreeting, Tls) {
  Greeting greeting{.address = "https://127.0.0.1:1",
                    .model = "m",
                    .trust = CurlTrust::kFile,
                    .certificate = "/my keys/it's.pem"};
  EXPECT_TRUE(has(try_lines(greeting), R"(curl --cacert '/my keys/it'\''s.pem' https://)"));
  greeting.trust = CurlTrust::kUnproven;
  EXPECT_TRUE(has(try_lines(greeting), "curl -k https://"));
  EXPECT_TRUE(has(try_lines(greeting), "-k: "));
}

}  // namespace
}  // namespace hadal
