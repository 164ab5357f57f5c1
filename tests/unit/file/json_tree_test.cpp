#include "file/json_tree.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace hadal {
namespace {

std::string nested(size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(JsonTreeTest, ReadsAValue) {
  const auto json = read_json_tree(R"( {"a": [1, "x", null]} )", "file", 4);
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ((*json)["a"][1], "x");
}

TEST(JsonTreeTest, DepthIsBounded) {
  EXPECT_TRUE(read_json_tree(nested(8), "file", 8));
  for (const std::string& text : {nested(9), nested(1 << 20), std::string(1 << 20, '[')}) {
    const auto json = read_json_tree(text, "file", 8);
    ASSERT_FALSE(json);
    EXPECT_EQ(json.error().message, "file: is nested deeper than 8 levels");
  }
}

TEST(JsonTreeTest, WhatIsNoneIsNamed) {
  for (const char* text : {"", "{", "{} x", "{'a': 1}", "[1,]", "\"\xff\"", "<html>"}) {
    const auto json = read_json_tree(text, "the answer", 8);
    ASSERT_FALSE(json) << text;
    EXPECT_EQ(json.error().message, "the answer: is no valid JSON") << text;
  }
}

}  // namespace
}  // namespace hadal
