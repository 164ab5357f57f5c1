#include "file/json_config.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace hadal {
namespace {

struct Config {
  Metadata metadata{"config.json", Dialect::kHuggingFace};
  std::vector<std::unique_ptr<std::string>> owned;
  std::vector<std::string> warnings;
  std::string error;
};

Config read(std::string_view text, std::string_view prefix = "") {
  Config config;
  const auto status =
      add_json_config(text, "config.json", prefix, config.metadata, config.owned, config.warnings);
  if (!status) config.error = status.error().message;
  return config;
}

TEST(JsonConfig, ScalarsListsAndNestedObjects) {
  const Config config = read(R"({
    "model_type": "qwen3", "hidden_size": 4096, "offset": -3, "rope_theta": 1e6, "tie_word_embeddings": false,
    "sliding_window": null,
    "rope_scaling": {"type": "yarn", "factor": 4.0, "deep": {"er": 1}},
    "eos_token_id": [1, 2], "mixed_numbers": [1, 0.5, 2], "architectures": ["Qwen3ForCausalLM"], "flags": [true, false],
    "empty": [], "nothing": {}, "last": 1})");
  ASSERT_EQ(config.error, "");
  const Metadata& metadata = config.metadata;
  EXPECT_EQ(metadata.string("model_type").value(), "qwen3");
  EXPECT_EQ(metadata.unsigned_integer("hidden_size").value(), 4096u);
  EXPECT_EQ(std::get<int64_t>(*metadata.find("offset")), -3);
  EXPECT_EQ(metadata.number("rope_theta").value(), 1e6);
  EXPECT_FALSE(metadata.boolean("tie_word_embeddings").value());
  EXPECT_FALSE(metadata.has("sliding_window"));
  EXPECT_EQ(metadata.string("rope_scaling.type").value(), "yarn");
  EXPECT_EQ(metadata.number("rope_scaling.factor").value(), 4.0);
  EXPECT_EQ(metadata.unsigned_integer("rope_scaling.deep.er").value(), 1u);
  EXPECT_EQ(metadata.integers("eos_token_id").value(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(metadata.floats("mixed_numbers").value(), (std::vector<float>{1, 0.5, 2}));
  EXPECT_EQ(metadata.strings("architectures").value()[0], "Qwen3ForCausalLM");
  EXPECT_TRUE(metadata.has("flags"));
  EXPECT_TRUE(metadata.integers("empty").value().empty());
  EXPECT_EQ(metadata.unsigned_integer("last").value(), 1u);
  EXPECT_EQ(metadata.values().size(), 14u);
  EXPECT_TRUE(config.warnings.empty());
}

TEST(JsonConfig, KeysStandBehindThePrefix) {
  const Config config = read(R"({"temperature": 0.6, "a": {"b": 1}})", "generation.");
  ASSERT_EQ(config.error, "");
  EXPECT_EQ(config.metadata.number("generation.temperature").value(), 0.6);
  EXPECT_EQ(config.metadata.unsigned_integer("generation.a.b").value(), 1u);
}

TEST(JsonConfig, ListsItCannotHoldAreLeftOutAndNamed) {
  const Config config =
      read(R"({"objects": [{"a": [1, "x"]}, {"b": {}}], "lists": [[1], [2, [3]]], "mixed": [1, "x"],
                                 "nulls": [null, 1], "truths": [true, 1], "after": 5})");
  ASSERT_EQ(config.error, "");
  EXPECT_EQ(config.metadata.values().size(), 1u);
  EXPECT_EQ(config.metadata.unsigned_integer("after").value(), 5u);
  ASSERT_EQ(config.warnings.size(), 5u);
  EXPECT_NE(config.warnings[0].find("'objects'"), std::string::npos) << config.warnings[0];
}

TEST(JsonConfig, MalformedTextsAreRefused) {
  const auto refused = [](std::string_view text, std::string_view expected) {
    const Config config = read(text);
    EXPECT_TRUE(config.error.starts_with("config.json: ")) << text << ": " << config.error;
    EXPECT_NE(config.error.find(expected), std::string::npos) << text << ": " << config.error;
  };
  refused("", "not valid JSON");
  refused("   ", "not valid JSON");
  refused("{", "not valid JSON");
  refused(R"({"a": 1} x)", "not valid JSON");
  refused(R"({"a": 1}{"a": 1})", "not valid JSON");
  refused(R"({"a": 1,})", "not valid JSON");
  refused(R"({"a": NaN})", "not valid JSON");
  refused(R"({a: 1})", "not valid JSON");
  refused("{\"a\": \"\xff\"}", "not valid JSON");
  refused("{\"a\": \"\x01\"}", "not valid JSON");
  refused(R"({"a": "\ud800"})", "not valid JSON");
  refused(R"({"a": 1e999})", "not valid JSON");
  refused("[1]", "not a JSON object");
  refused("1", "not a JSON object");
  refused("\"text\"", "not a JSON object");
  refused(R"({"a": 1, "a": 2})", "twice");
  refused(R"({"o": {"a": 1}, "o": {"b": 2}})", "twice");
  refused(R"({"a.b": 1, "a": {"b": 2}})", "twice");
  refused(R"({"": 1})", "plain name");
  refused(R"({"a\u0000b": 1})", "plain name");
  refused(R"({"a": {"\u001b[2J": 1}})", "plain name");
}

TEST(JsonConfig, DepthIsBounded) {
  const auto nested = [](int depth) {
    std::string text = "1";
    for (int i = 0; i < depth; ++i) text = "{\"a\":" + text + "}";
    return text;
  };
  EXPECT_EQ(read(nested(16)).error, "");
  EXPECT_NE(read(nested(17)).error.find("deeper than 16"), std::string::npos);
  EXPECT_NE(read(std::string(1 << 20, '[')).error, "");
  EXPECT_NE(read("{\"a\":" + std::string(1 << 20, '[')).error.find("deeper than 16"),
            std::string::npos);
}

TEST(JsonConfig, KeysAreBounded) {
  std::string text = "{";
  for (int i = 0; i < 65537; ++i) text += fmt::format("{}\"k{}\":0", i == 0 ? "" : ",", i);
  EXPECT_NE(read(text + "}").error.find("more than 65536 keys"), std::string::npos);
}

TEST(JsonConfig, AByteOrderMarkIsSkipped) {
  EXPECT_EQ(read("\xef\xbb\xbf{\"a\": 1}").error, "");
}

}  // namespace
}  // namespace hadal
