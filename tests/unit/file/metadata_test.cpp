#include "file/metadata.h"

#include <gtest/gtest.h>

#include <string>

namespace hadal {
namespace {

Metadata sample() {
  Metadata metadata("model.gguf", Dialect::kGguf);
  metadata.insert("natural", uint64_t{7});
  metadata.insert("integer", int64_t{7});
  metadata.insert("negative", int64_t{-7});
  metadata.insert("huge", UINT64_MAX);
  metadata.insert("real", 1.5);
  metadata.insert("truth", true);
  metadata.insert("text", std::string_view("abc"));
  metadata.insert("naturals", MetadataArray(std::vector<uint64_t>{1, 2}));
  metadata.insert("integers", MetadataArray(std::vector<int64_t>{-1, 2}));
  metadata.insert("reals", MetadataArray(std::vector<double>{0.5, 2}));
  metadata.insert("truths", MetadataArray(std::vector<bool>{true}));
  metadata.insert("texts", MetadataArray(std::vector<std::string_view>{"a", "b"}));
  metadata.insert("huges", MetadataArray(std::vector<uint64_t>{UINT64_MAX}));
  metadata.insert("empty", MetadataArray());
  return metadata;
}

// The message, which must name file and key; "" for a value.
template <typename Value>
std::string error_of(const Result<Value>& result, std::string_view key) {
  if (result) return "";
  EXPECT_TRUE(result.error().message.starts_with("model.gguf: ")) << result.error().message;
  EXPECT_NE(result.error().message.find(fmt::format("'{}'", key)), std::string::npos)
      << result.error().message;
  return result.error().message;
}

TEST(Metadata, IntegersAreTakenAcrossSignedness) {
  const Metadata metadata = sample();
  EXPECT_EQ(metadata.unsigned_integer("natural").value(), 7u);
  EXPECT_EQ(metadata.unsigned_integer("integer").value(), 7u);
  EXPECT_EQ(metadata.unsigned_integer("huge", UINT64_MAX).value(), UINT64_MAX);
  EXPECT_EQ(metadata.integers("naturals").value(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(metadata.integers("integers").value(), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(metadata.number("natural").value(), 7.0);
  EXPECT_EQ(metadata.number("negative").value(), -7.0);
  EXPECT_EQ(metadata.number("real").value(), 1.5);
  EXPECT_EQ(metadata.floats("naturals").value(), (std::vector<float>{1, 2}));
  EXPECT_EQ(metadata.floats("reals").value(), (std::vector<float>{0.5, 2}));
}

TEST(Metadata, AScalarIsAListOfOne) {
  const Metadata metadata = sample();
  EXPECT_EQ(metadata.integers("negative").value(), (std::vector<int64_t>{-7}));
  EXPECT_EQ(metadata.integers("natural").value(), (std::vector<int64_t>{7}));
  EXPECT_EQ(metadata.floats("real").value(), (std::vector<float>{1.5}));
}

TEST(Metadata, AnEmptyListIsAListOfAnything) {
  const Metadata metadata = sample();
  EXPECT_TRUE(metadata.strings("empty").value().empty());
  EXPECT_TRUE(metadata.integers("empty").value().empty());
  EXPECT_TRUE(metadata.floats("empty").value().empty());
}

TEST(Metadata, ErrorsNameKeyValueAndWhatWasExpected) {
  const Metadata metadata = sample();
  EXPECT_NE(error_of(metadata.unsigned_integer("absent"), "absent").find("missing"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.unsigned_integer("negative"), "negative").find("-7"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.unsigned_integer("huge"), "huge").find("4294967295"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.unsigned_integer("natural", 6), "natural").find("at most 6"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.unsigned_integer("real"), "real").find("1.5"), std::string::npos);
  EXPECT_NE(error_of(metadata.unsigned_integer("truth"), "truth").find("true"), std::string::npos);
  EXPECT_NE(error_of(metadata.number("text"), "text").find("'abc'"), std::string::npos);
  EXPECT_NE(error_of(metadata.number("texts"), "texts").find("list of 2 strings"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.boolean("natural"), "natural").find("true or false"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.string("natural"), "natural").find("a string"), std::string::npos);
  EXPECT_NE(error_of(metadata.strings("text"), "text").find("a list of strings"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.strings("integers"), "integers").find("a list of strings"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.integers("reals"), "reals").find("whole numbers"), std::string::npos);
  EXPECT_NE(error_of(metadata.integers("real"), "real").find("whole numbers"), std::string::npos);
  EXPECT_NE(error_of(metadata.integers("huges"), "huges").find("whole numbers"), std::string::npos);
  EXPECT_NE(error_of(metadata.integers("truths"), "truths").find("whole numbers"),
            std::string::npos);
  EXPECT_NE(error_of(metadata.floats("texts"), "texts").find("numbers"), std::string::npos);
  EXPECT_NE(error_of(metadata.floats("truth"), "truth").find("numbers"), std::string::npos);
  EXPECT_NE(error_of(metadata.boolean("absent"), "absent").find("missing"), std::string::npos);
  EXPECT_NE(error_of(metadata.string("absent"), "absent").find("missing"), std::string::npos);
  EXPECT_NE(error_of(metadata.strings("absent"), "absent").find("missing"), std::string::npos);
  EXPECT_NE(error_of(metadata.floats("absent"), "absent").find("missing"), std::string::npos);
  EXPECT_NE(error_of(metadata.number("absent"), "absent").find("missing"), std::string::npos);
}

TEST(Metadata, AKeyComesOnce) {
  Metadata metadata = sample();
  EXPECT_FALSE(metadata.insert("natural", uint64_t{8}));
  EXPECT_EQ(metadata.unsigned_integer("natural").value(), 7u);
  EXPECT_TRUE(metadata.has("natural"));
  EXPECT_FALSE(metadata.has("absent"));
  EXPECT_EQ(metadata.find("absent"), nullptr);
}

}  // namespace
}  // namespace hadal
