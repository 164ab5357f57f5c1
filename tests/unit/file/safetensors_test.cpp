#include "file/safetensors.h"

#include <gtest/gtest.h>

#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "support/safetensors_builder.h"

namespace hadal {
namespace {

Result<SafetensorsContents> read(const std::string& bytes, ReadWhat what = ReadWhat::kEverything) {
  return read_safetensors(std::as_bytes(std::span(bytes)), "model.safetensors", what);
}

TEST(Safetensors, ShapesAndTypes) {
  SafetensorsBuilder file;
  file.add("scalar", "F32", {})
      .add("norm", "BF16", {6})
      .add("matrix", "F16", {3, 5})
      .add("experts", "F8_E4M3", {2, 4, 8});
  const std::string bytes = file.build();
  const auto contents = read(bytes);
  ASSERT_TRUE(contents) << contents.error().message;
  ASSERT_EQ(contents->tensors.size(), 4u);
  EXPECT_EQ(contents->bytes_needed, bytes.size());

  const TensorInfo& scalar = *contents->tensors.find("scalar");
  EXPECT_EQ(scalar.dimensions, 0u);
  EXPECT_EQ(scalar.columns, 1u);
  EXPECT_EQ(scalar.data.size(), 4u);
  const TensorInfo& norm = *contents->tensors.find("norm");
  EXPECT_EQ(norm.type, QuantType::kBF16);
  EXPECT_EQ(norm.columns, 6u);
  EXPECT_EQ(norm.rows, 1u);
  const TensorInfo& matrix = *contents->tensors.find("matrix");
  EXPECT_EQ(matrix.type, QuantType::kF16);
  EXPECT_EQ(matrix.rows, 3u);
  EXPECT_EQ(matrix.columns, 5u);
  EXPECT_EQ(matrix.data.size(), 30u);
  EXPECT_EQ(matrix.data.data(), norm.data.data() + norm.data.size());
  const TensorInfo& experts = *contents->tensors.find("experts");
  EXPECT_EQ(experts.type, QuantType::kF8_E4M3);
  EXPECT_EQ(experts.experts, 2u);
  EXPECT_EQ(experts.rows, 4u);
  EXPECT_EQ(experts.columns, 8u);
  EXPECT_EQ(experts.file, "model.safetensors");
}

TEST(Safetensors, FileMetadataAndPaddingAreAllowed) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}     )";
  const auto contents = read(SafetensorsBuilder::file(header, std::string(8, '\0')));
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->tensors.size(), 1u);
  EXPECT_TRUE(read(SafetensorsBuilder::file("{}", "")));
}

TEST(Safetensors, HeaderOnlyDescribesWhatIsCutOff) {
  const std::string whole = SafetensorsBuilder().add("a", "F32", {4}).add("b", "F32", {4}).build();
  const std::string cut = whole.substr(0, whole.size() - 5);
  const auto refused = read(cut);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("cut off"), std::string::npos) << refused.error().message;
  const auto contents = read(cut, ReadWhat::kHeaderOnly);
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->bytes_needed, whole.size());
  EXPECT_EQ(contents->tensors.find("a")->data.size(), 16u);
  EXPECT_TRUE(contents->tensors.find("b")->data.empty());
}

struct MalformedCase {
  const char* name;
  const char* expected;
  std::string bytes;
};

void PrintTo(const MalformedCase& test, std::ostream* out) {
  *out << test.name;
}

std::string with_header(const std::string& header, size_t data_bytes = 64) {
  return SafetensorsBuilder::file(header, std::string(data_bytes, '\0'));
}

std::string tensor(const std::string& fields, size_t data_bytes = 64) {
  return with_header(fmt::format("{{\"t\":{{{}}}}}", fields), data_bytes);
}

std::vector<MalformedCase> malformed_cases() {
  const std::string length_huge = std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
  const std::string length_beyond = std::string("\0\0\0\1\0\0\0\0{}", 10);
  return {
      {"Empty", "empty", ""},
      {"Short", "not a model", std::string("\1\0\0\0", 4)},
      {"HeaderLengthHuge", "at most 100 MB", length_huge},
      {"HeaderLongerThanTheFile", "cut off", length_beyond},
      {"NotJson", "not valid JSON", with_header("{,}")},
      {"GitLfsPointer", "Git-LFS",
       "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000\n"},
      {"WebPage", "web page", "<!DOCTYPE html><html><head>"},
      {"TypeUnknown", "'I64'", tensor(R"("dtype":"I64","shape":[8],"data_offsets":[0,64])")},
      {"TypeMissing", "lacks", tensor(R"("shape":[16],"data_offsets":[0,64])")},
      {"ShapeMissing", "lacks", tensor(R"("dtype":"F32","data_offsets":[0,64])")},
      {"OffsetsMissing", "lacks", tensor(R"("dtype":"F32","shape":[16])")},
      {"OneOffset", "lacks", tensor(R"("dtype":"F32","shape":[16],"data_offsets":[0])")},
      {"ThreeOffsets", "more than 2 numbers",
       tensor(R"("dtype":"F32","shape":[16],"data_offsets":[0,64,64])")},
      {"NegativeOffset", "negative",
       tensor(R"("dtype":"F32","shape":[16],"data_offsets":[-1,63])")},
      {"FractionInShape", "fraction",
       tensor(R"("dtype":"F32","shape":[16.0],"data_offsets":[0,64])")},
      {"DimensionTooLargeForANumber", "too large",
       tensor(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,64])")},
      {"DimensionTooLarge", "dimension",
       tensor(R"("dtype":"F32","shape":[4294967296],"data_offsets":[0,64])")},
      {"DimensionsWhoseProductOverflows", "do not fit",
       tensor(R"("dtype":"F32","shape":[4294967295,4294967295,4294967295],"data_offsets":[0,64])")},
      {"ZeroDimension", "dimension of 0",
       tensor(R"("dtype":"F32","shape":[0],"data_offsets":[0,0])", 0)},
      {"FourDimensions", "4 dimensions",
       tensor(R"("dtype":"F32","shape":[2,2,2,2],"data_offsets":[0,64])")},
      {"HundredDimensions", "more than 8 numbers",
       tensor(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,64])")},
      {"EndBeforeBegin", "do not fit",
       tensor(R"("dtype":"F32","shape":[16],"data_offsets":[64,0])")},
      {"OffsetsThatOverflow", "do not fit",
       tensor(
           R"("dtype":"F8_E4M3","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615])")},
      {"SizeNotThatOfTheShape", "do not fit",
       tensor(R"("dtype":"F32","shape":[15],"data_offsets":[0,64])")},
      {"HoleAtTheStart", "hole", tensor(R"("dtype":"F32","shape":[8],"data_offsets":[32,64])")},
      {"Hole", "hole",
       with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                                       "b":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}})",
                   24)},
      {"Overlap", "overlap",
       with_header(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},
                                             "b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}})",
                   24)},
      {"BytesBehind", "no tensor", tensor(R"("dtype":"F32","shape":[8],"data_offsets":[0,32])")},
      {"TensorTwice", "twice",
       with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                                               "a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                   16)},
      {"FieldTwice", "twice",
       tensor(R"("dtype":"F32","dtype":"F16","shape":[16],"data_offsets":[0,64])")},
      {"TensorIsANumber", "a number", with_header(R"({"t": 5})")},
      {"TensorIsAList", "a list", with_header(R"({"t": [5]})")},
      {"TensorIsNull", "null", with_header(R"({"t": null})")},
      {"ShapeIsAString", "a string", tensor(R"("dtype":"F32","shape":"16","data_offsets":[0,64])")},
      {"ShapeOfStrings", "a string",
       tensor(R"("dtype":"F32","shape":["16"],"data_offsets":[0,64])")},
      {"ShapeOfLists", "deeper", tensor(R"("dtype":"F32","shape":[[16]],"data_offsets":[0,64])")},
      {"UnknownField", "a number",
       tensor(R"("dtype":"F32","shape":[16],"data_offsets":[0,64],"x":1)")},
      {"MetadataOfNumbers", "a number", with_header(R"({"__metadata__":{"a":1}})", 0)},
      {"NameEmpty", "plain name",
       with_header(R"({"":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}})")},
      {"NameWithNul", "plain name",
       with_header(R"({"a\u0000":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}})")},
      {"Misaligned", "no multiple",
       with_header(R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},
                                                    "b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                   6)},
  };
}

class MalformedSafetensors : public ::testing::TestWithParam<MalformedCase> {};

TEST_P(MalformedSafetensors, IsRefusedWithASentence) {
  for (const ReadWhat what : {ReadWhat::kEverything, ReadWhat::kHeaderOnly}) {
    const auto contents = read(GetParam().bytes, what);
    ASSERT_FALSE(contents);
    EXPECT_TRUE(contents.error().message.starts_with("model.safetensors: "))
        << contents.error().message;
    EXPECT_NE(contents.error().message.find(GetParam().expected), std::string::npos)
        << contents.error().message;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MalformedSafetensors, ::testing::ValuesIn(malformed_cases()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace hadal
