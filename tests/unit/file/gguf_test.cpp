// Sound GGUF files: what is read from them. Unsound ones: gguf_malformed_test.cpp.
#include "file/gguf.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "support/gguf_builder.h"

namespace hadal {
namespace {

using Type = GgufBuilder::Type;

Result<GgufContents> read(const std::string& bytes, ReadWhat what = ReadWhat::kEverything) {
  return read_gguf(std::as_bytes(std::span(bytes)), "model.gguf", what);
}

TEST(Gguf, EveryTypeOfValue) {
  GgufBuilder file;
  file.set_raw("u8", Type::kU8, Bytes().u8(200).data())
      .set_raw("i8", Type::kI8, Bytes().number<int8_t>(-100).data())
      .set_u16("u16", 60000)
      .set_raw("i16", Type::kI16, Bytes().number<int16_t>(-30000).data())
      .set_u32("u32", 4'000'000'000u)
      .set_i32("i32", -2'000'000'000)
      .set_f32("f32", 0.5f)
      .set_bool("yes", true)
      .set_bool("no", false)
      .set_string("string", "héllo")
      .set_u64("u64", UINT64_MAX)
      .set_raw("i64", Type::kI64, Bytes().number<int64_t>(INT64_MIN).data())
      .set_raw("f64", Type::kF64, Bytes().number(1e300).data());
  const std::string bytes = file.build();
  const auto contents = read(bytes);
  ASSERT_TRUE(contents) << contents.error().message;
  const Metadata& metadata = contents->metadata;
  EXPECT_EQ(contents->version, 3u);
  EXPECT_EQ(metadata.dialect(), Dialect::kGguf);
  EXPECT_EQ(metadata.values().size(), 13u);
  EXPECT_EQ(metadata.unsigned_integer("u8").value(), 200u);
  EXPECT_EQ(std::get<int64_t>(*metadata.find("i8")), -100);
  EXPECT_EQ(metadata.unsigned_integer("u16").value(), 60000u);
  EXPECT_EQ(std::get<int64_t>(*metadata.find("i16")), -30000);
  EXPECT_EQ(metadata.unsigned_integer("u32").value(), 4'000'000'000u);
  EXPECT_EQ(std::get<int64_t>(*metadata.find("i32")), -2'000'000'000);
  EXPECT_EQ(metadata.number("f32").value(), 0.5);
  EXPECT_TRUE(metadata.boolean("yes").value());
  EXPECT_FALSE(metadata.boolean("no").value());
  EXPECT_EQ(metadata.string("string").value(), "héllo");
  EXPECT_EQ(metadata.unsigned_integer("u64", UINT64_MAX).value(), UINT64_MAX);
  EXPECT_EQ(std::get<int64_t>(*metadata.find("i64")), INT64_MIN);
  EXPECT_EQ(metadata.number("f64").value(), 1e300);
}

TEST(Gguf, Lists) {
  GgufBuilder file;
  file.set_strings("tokens", {"a", "", "你好"})
      .set_i32s("types", {1, -2, 3})
      .set_f32s("scores", {0.5f, -1.0f})
      .set_strings("none", {})
      .set_raw("flags", Type::kList,
               GgufBuilder::list_start(Type::kBool, 3).u8(1).u8(0).u8(1).data())
      .set_raw("bytes", Type::kList, GgufBuilder::list_start(Type::kU8, 2).u8(7).u8(255).data());
  const std::string bytes = file.build();
  const auto contents = read(bytes);
  ASSERT_TRUE(contents) << contents.error().message;
  const Metadata& metadata = contents->metadata;
  const auto tokens = metadata.strings("tokens").value();
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_EQ(tokens[0], "a");
  EXPECT_EQ(tokens[1], "");
  EXPECT_EQ(tokens[2], "你好");
  EXPECT_GE(tokens[2].data(), bytes.data()) << "strings are views into the file";
  EXPECT_LT(tokens[2].data(), bytes.data() + bytes.size());
  EXPECT_EQ(metadata.integers("types").value(), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(metadata.floats("scores").value(), (std::vector<float>{0.5f, -1.0f}));
  EXPECT_TRUE(metadata.strings("none").value().empty());
  EXPECT_EQ(std::get<std::vector<bool>>(std::get<MetadataArray>(*metadata.find("flags"))),
            (std::vector<bool>{true, false, true}));
  EXPECT_EQ(metadata.integers("bytes").value(), (std::vector<int64_t>{7, 255}));
}

TEST(Gguf, TensorsOfOneTwoAndThreeDimensions) {
  GgufBuilder file;
  file.add_tensor("norm", {6}, QuantType::kF32)
      .add_tensor("matrix", {64, 3}, QuantType::kQ4_0)
      .add_tensor("experts", {256, 2, 5}, QuantType::kQ6_K)
      .add_tensor("one", {4, 1, 1, 1}, QuantType::kF16);
  const std::string bytes = file.build();
  const auto contents = read(bytes);
  ASSERT_TRUE(contents) << contents.error().message;
  ASSERT_EQ(contents->tensors.size(), 4u);
  EXPECT_EQ(contents->bytes_needed, bytes.size());

  const TensorInfo& norm = *contents->tensors.find("norm");
  EXPECT_EQ(norm.columns, 6u);
  EXPECT_EQ(norm.rows, 1u);
  EXPECT_EQ(norm.experts, 1u);
  EXPECT_EQ(norm.dimensions, 1u);
  EXPECT_EQ(norm.data.size(), 24u);
  EXPECT_EQ(reinterpret_cast<const char*>(norm.data.data()), bytes.data() + file.header_bytes());
  EXPECT_EQ(norm.file, "model.gguf");

  const TensorInfo& matrix = *contents->tensors.find("matrix");
  EXPECT_EQ(matrix.type, QuantType::kQ4_0);
  EXPECT_EQ(matrix.columns, 64u);
  EXPECT_EQ(matrix.rows, 3u);
  EXPECT_EQ(matrix.data.size(), 3u * 2 * 18);
  EXPECT_EQ(matrix.data[0], std::byte{6});  // the builder's bytes: i * 7 + length of the name
  EXPECT_EQ(matrix.data[1], std::byte{13});

  const TensorInfo& experts = *contents->tensors.find("experts");
  EXPECT_EQ(experts.experts, 5u);
  EXPECT_EQ(experts.rows, 2u);
  EXPECT_EQ(experts.columns, 256u);
  EXPECT_EQ(experts.data.size(), 10u * 210);
  EXPECT_EQ(contents->tensors.find("one")->dimensions, 4u);
  EXPECT_EQ(contents->tensors.find("absent"), nullptr);
}

TEST(Gguf, Version2AndAnotherAlignment) {
  GgufBuilder file;
  file.version = 2;
  file.alignment = 4096;
  file.set_u32("general.alignment", 4096)
      .add_tensor("a", {3}, QuantType::kF32)
      .add_tensor("b", {3}, QuantType::kF32);
  const std::string bytes = file.build();
  const auto contents = read(bytes);
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->version, 2u);
  EXPECT_EQ(contents->bytes_needed, 4096u + 4096 + 12);
}

TEST(Gguf, TensorsInAnyOrderWithHolesAndBytesBehind) {
  GgufBuilder file;
  file.describe_tensor("late", {8}, 0, 128).describe_tensor("early", {8}, 0, 0);
  const std::string bytes = file.build() + std::string(1000, 'x');
  const auto contents = read(bytes);
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->bytes_needed, file.header_bytes() + 128 + 32);
}

TEST(Gguf, NoTensorsNoKeys) {
  const auto contents = read(GgufBuilder().build());
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->tensors.size(), 0u);
}

TEST(Gguf, HeaderOnlyDescribesWhatIsCutOff) {
  GgufBuilder file;
  file.add_tensor("a", {32}, QuantType::kF32)
      .add_tensor("b", {32, 2}, QuantType::kF32)
      .add_tensor("c", {32}, QuantType::kQ8_0);
  const std::string whole = file.build();
  const std::string cut = whole.substr(0, file.header_bytes() + 128 + 10);  // a, and ten bytes of b

  const auto refused = read(cut);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(std::to_string(whole.size())), std::string::npos)
      << refused.error().message;
  EXPECT_NE(refused.error().message.find("cut off"), std::string::npos) << refused.error().message;

  const auto contents = read(cut, ReadWhat::kHeaderOnly);
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->bytes_needed, whole.size());
  EXPECT_EQ(contents->tensors.find("a")->data.size(), 128u);
  EXPECT_TRUE(contents->tensors.find("b")->data.empty());
  EXPECT_TRUE(contents->tensors.find("c")->data.empty());
  EXPECT_EQ(contents->tensors.find("b")->rows, 2u);
}

TEST(Gguf, AHeaderCutAnywhereIsRefused) {
  GgufBuilder file;
  file.set_string("general.architecture", "llama")
      .set_strings("tokens", {"a", "bc"})
      .set_i32s("types", {1, 2});
  file.add_tensor("a", {32, 2}, QuantType::kQ8_0);
  const std::string whole = file.build();
  const size_t header_end = whole.size() - 68 - 32;  // before the padding of at most 31 bytes
  for (size_t size = 0; size < header_end; ++size) {
    for (const ReadWhat what : {ReadWhat::kEverything, ReadWhat::kHeaderOnly}) {
      ASSERT_FALSE(read(whole.substr(0, size), what)) << size;
    }
  }
  for (size_t size = header_end; size < whole.size(); ++size)
    ASSERT_FALSE(read(whole.substr(0, size))) << size;
  ASSERT_TRUE(read(whole));
}

}  // namespace
}  // namespace hadal
