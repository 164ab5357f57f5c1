#include "file/weight_index.h"

#include <gtest/gtest.h>

#include <string>

namespace hadal {
namespace {

TEST(WeightIndex, TensorsAndTheirFiles) {
  const auto index = read_weight_index(
      R"({"metadata": {"total_size": 1.5, "nested": {"weight_map": {"no": "no.safetensors"}}, "list": [[]]},
                                           "weight_map": {"a": "x.safetensors", "b": "y.safetensors"}, "more": "text"})",
      "index.json");
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(*index, (WeightIndex{{"a", "x.safetensors"}, {"b", "y.safetensors"}}));
}

TEST(WeightIndex, MalformedOnesAreRefused) {
  const auto refused = [](std::string_view text, std::string_view expected) {
    const auto index = read_weight_index(text, "index.json");
    ASSERT_FALSE(index) << text;
    EXPECT_NE(index.error().message.find(expected), std::string::npos)
        << text << ": " << index.error().message;
  };
  refused("", "not valid JSON");
  refused("{}", "no weight_map");
  refused("[]", "not a JSON object");
  refused("7", "not a JSON object");
  refused(R"({"weight_map": {}})", "no weight_map");
  refused(R"({"weight_map": ["a.safetensors"]})", "no weight_map");
  refused(R"({"weight_map": {"a": 5}})", "does not give a file name");
  refused(R"({"weight_map": {"a": null}})", "does not give a file name");
  refused(R"({"weight_map": {"a": ["x.safetensors"]}})", "does not give a file name");
  refused(R"({"weight_map": {"a": {"b": "x.safetensors"}}})", "does not give a file name");
  refused(R"({"weight_map": {"a": "../x.safetensors"}})", "not the name of a safetensors file");
  refused(R"({"weight_map": {"a": "/x.safetensors"}})", "not the name of a safetensors file");
  refused(R"({"weight_map": {"a": "x.bin"}})", "not the name of a safetensors file");
  refused(R"({"weight_map": {"a": "x\u0000.safetensors"}})", "not the name of a safetensors file");
  refused(R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})", "twice");
}

}  // namespace
}  // namespace hadal
