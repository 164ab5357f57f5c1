#include "server/chat/json_text.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace hadal {
namespace {

std::string repeated(std::string_view text, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += text;
  return all;
}

TEST(JsonText, KeepsOrderAndText) {
  const auto value = parse_json_object(R"({"b": "深", "a": [1, 2.5, null, "{[,:"]})");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->dump(), R"({"b":"深","a":[1,2.5,null,"{[,:"]})");
}

TEST(JsonText, RefusesWhatIsNoJson) {
  for (const std::string_view text :
       {"", "{", "{\"a\": NaN}", "{\"a\": 1,}", "{'a': 1}", "{\"a\": 1} x", "{\"a\": \"\xff\"}",
        "{\"a\": \"\\ud800\"}", "nul", "\xef\xbb\xbf", "{\"a\": 1e999}", "{\"a\": Infinity}"}) {
    EXPECT_FALSE(parse_json_object(text)) << text;
  }
  EXPECT_FALSE(parse_json_object("[]"));
  EXPECT_FALSE(parse_json_object("3"));
}

TEST(JsonText, DepthIsBounded) {
  const JsonTextLimits limits{.depth_max = 8};
  EXPECT_TRUE(parse_json(repeated("[", 8) + repeated("]", 8), limits));
  const auto deep = parse_json(repeated("[", 9) + repeated("]", 9), limits);
  ASSERT_FALSE(deep);
  EXPECT_NE(deep.error().message.find("8 levels"), std::string::npos);
  EXPECT_FALSE(parse_json(repeated("[", 5'000'000)));
  EXPECT_TRUE(parse_json('"' + repeated("[", 9) + '"', limits));
  EXPECT_TRUE(parse_json("\"\\\"" + repeated("[", 9) + '"', limits));
}

TEST(JsonText, CountsAreBounded) {
  const JsonTextLimits limits{.values_max = 10, .keys_max = 3};
  EXPECT_TRUE(parse_json("[" + repeated("1,", 8) + "1]", limits));
  EXPECT_FALSE(parse_json("[" + repeated("1,", 9) + "1]", limits));
  EXPECT_TRUE(parse_json(R"({"a":1,"b":2,"c":{"d":1,"e":2,"f":3}})", limits));
  EXPECT_FALSE(parse_json(R"({"a":1,"b":2,"c":3,"d":4})", limits));
}

TEST(JsonText, ANameThatStandsTwiceIsNamed) {
  const struct {
    const char* text;
    const char* field;
  } kCases[] = {
      {R"({"a":1,"b":2,"a":1})", "a"},
      {R"({"a":{"x":1,"y":2},"a":{"x":1}})", "a"},
      {R"({"a":1,"\u0061":2})", "a"},
      {R"({"a":[{"b":1},{"b":[[],{"c":1,"d":"c","c":{}}]}]})", "a[1].b[1].c"},
      {R"({"":1,"":2})", ""},
      {R"([{"x y\u0007深":1,"x y\u0007深":2}])", "[0].x y????"},
  };
  for (const auto& [text, field] : kCases) {
    const auto twice = parse_json(text);
    ASSERT_FALSE(twice) << text;
    EXPECT_EQ(twice.error().kind, ErrorKind::kInvalid);
    EXPECT_EQ(twice.error().field, field) << text;
    EXPECT_NE(twice.error().message.find("twice"), std::string::npos) << text;
  }
  for (const char* text : {R"({"a":{"a":{"a":":a:"}},"b":[{"a":1},{"a":1}]})",
                           R"({"a":"b","b":"a"})", "{}", R"({"A":1,"a":2})"}) {
    EXPECT_TRUE(parse_json(text)) << text;
  }
}

TEST(JsonText, SaysWhereAndNotWhat) {
  const auto wrong = parse_json(R"({"secret": oops})");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message.find("secret"), std::string::npos);
  EXPECT_NE(wrong.error().message.find("byte"), std::string::npos);
}

}  // namespace
}  // namespace hadal
