// Every kind of malformed GGUF by name: each is refused with a sentence that says what is wrong,
// whether tensors are wanted or the header alone.
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "file/gguf.h"
#include "support/gguf_builder.h"

namespace hadal {
namespace {

using Type = GgufBuilder::Type;
constexpr uint32_t kF32Type = 0, kQ4_0Type = 2;

struct MalformedCase {
  const char* name;
  const char* expected;  // part of the message
  std::function<std::string()> bytes;
};

void PrintTo(const MalformedCase& test, std::ostream* out) {
  *out << test.name;
}

// A file whose only tensor, of `dimensions`, is described and not there.
std::string one_tensor(std::vector<uint64_t> dimensions, uint32_t type = kF32Type,
                       uint64_t offset = 0, std::string_view name = "weight") {
  return GgufBuilder().describe_tensor(name, dimensions, type, offset).build() +
         std::string(4096, '\0');
}

std::string one_key(std::string_view key, uint32_t type, const std::string& value) {
  return GgufBuilder().set_raw(key, type, value).build();
}

std::string with_counts(std::optional<uint64_t> keys, std::optional<uint64_t> tensors) {
  GgufBuilder file;
  file.key_count = keys;
  file.tensor_count = tensors;
  return file.set_u32("a", 1).add_tensor("t", {8}, QuantType::kF32).build();
}

std::string with_alignment(uint32_t alignment) {
  return GgufBuilder()
      .set_u32("general.alignment", alignment)
      .add_tensor("t", {8}, QuantType::kF32)
      .build();
}

// A string that claims more bytes than it has.
std::string long_string(uint64_t claimed) {
  return Bytes().u64(claimed).raw("short").data();
}

std::vector<MalformedCase> malformed_cases() {
  return {
      // The start.
      {"Empty", "empty", [] { return std::string(); }},
      {"MagicCut", "text file", [] { return std::string("GGU"); }},
      {"BadMagic", "not a model", [] { return "GGUX\3\0\0\0" + std::string(64, '\1'); }},
      {"MagicInCapitalsOfTheOldFormat", "before GGUF",
       [] { return std::string("tjgg") + std::string(60, '\0'); }},
      {"VersionCut", "ends early", [] { return std::string("GGUF\3\0", 6); }},
      {"Version0", "version 0",
       [] {
         GgufBuilder f;
         f.version = 0;
         return f.build();
       }},
      {"Version1", "version 1",
       [] {
         GgufBuilder f;
         f.version = 1;
         return f.build();
       }},
      {"Version4", "version 4",
       [] {
         GgufBuilder f;
         f.version = 4;
         return f.build();
       }},
      {"BigEndian", "big-endian",
       [] {
         GgufBuilder f;
         f.version = 0x03000000;
         return f.build();
       }},
      {"BigEndianMagic", "big-endian",
       [] {
         GgufBuilder f;
         f.magic = "FUGG";
         return f.build();
       }},
      {"CountsCut", "ends early", [] { return std::string("GGUF\3\0\0\0\1\0\0\0", 12); }},

      // Counts.
      {"TensorCountHuge", "tensors", [] { return with_counts({}, UINT64_MAX); }},
      {"TensorCountThatOverflowsAProduct", "tensors",
       [] { return with_counts({}, (uint64_t{1} << 63) + 1); }},
      {"TensorCountMoreThanTheFileHolds", "can hold", [] { return with_counts({}, 10000); }},
      {"TensorCountOneTooMany", "", [] { return with_counts({}, 2); }},
      {"KeyCountHuge", "keys", [] { return with_counts(UINT64_MAX, {}); }},
      {"KeyCountMoreThanTheFileHolds", "can hold", [] { return with_counts(60000, {}); }},
      {"KeyCountOneTooMany", "", [] { return with_counts(2, {}); }},
      {"KeyCountOneTooFew", "", [] { return with_counts(0, {}); }},

      // Keys.
      {"KeyTwice", "twice", [] { return GgufBuilder().set_u32("a", 1).set_u32("a", 1).build(); }},
      {"KeyEmpty", "plain name", [] { return one_key("", Type::kU32, Bytes().u32(1).data()); }},
      {"KeyNotUtf8", "plain name",
       [] { return one_key("a\xff", Type::kU32, Bytes().u32(1).data()); }},
      {"KeyWithNul", "plain name",
       [] { return one_key(std::string_view("a\0b", 3), Type::kU32, Bytes().u32(1).data()); }},
      {"KeyWithTerminalCommand", "plain name",
       [] { return one_key("\x1b[2J", Type::kU32, Bytes().u32(1).data()); }},
      {"KeyNameTooLong", "65536 bytes",
       [] { return one_key(std::string(65536, 'k'), Type::kU32, Bytes().u32(1).data()); }},
      {"KeyNameLongerThanTheFile", "ends early",
       [] {
         GgufBuilder f;
         f.key_count = 1;
         return f.build().substr(0, 24) +
                Bytes().u64(uint64_t{1} << 40).raw(std::string(100, 'k')).data();
       }},
      {"KeyTypeUnknown", "unknown type 13", [] { return one_key("a", 13, Bytes().u64(1).data()); }},
      {"KeyTypeHuge", "unknown type 4294967295",
       [] { return one_key("a", UINT32_MAX, Bytes().u64(1).data()); }},
      {"BooleanNeitherTrueNorFalse", "boolean",
       [] { return one_key("a", Type::kBool, Bytes().u8(2).data()); }},
      {"StringLongerThanTheFile", "ends early",
       [] { return one_key("a", Type::kString, long_string(100000)); }},
      {"StringLengthThatOverflows", "ends early",
       [] { return one_key("a", Type::kString, long_string(UINT64_MAX - 3)); }},
      {"StringNotUtf8", "not UTF-8", [] { return GgufBuilder().set_string("a", "\xc3(").build(); }},

      // Lists.
      {"ListOfLists", "list of lists",
       [] {
         return one_key("a", Type::kList,
                        GgufBuilder::list_start(Type::kList, 1).u32(Type::kU8).u64(1).u8(1).data());
       }},
      {"ListOfUnknownType", "unknown type 77",
       [] { return one_key("a", Type::kList, GgufBuilder::list_start(77, 1).u64(0).data()); }},
      {"ListLongerThanTheFile", "cannot hold",
       [] {
         return one_key("a", Type::kList,
                        GgufBuilder::list_start(Type::kU32, 1000000).u64(0).data());
       }},
      {"ListCountThatOverflows", "cannot hold",
       [] {
         return one_key("a", Type::kList,
                        GgufBuilder::list_start(Type::kU64, (uint64_t{1} << 61) + 1).u64(0).data());
       }},
      {"ListOfStringsLongerThanTheFile", "cannot hold",
       [] {
         return one_key("a", Type::kList,
                        GgufBuilder::list_start(Type::kString, UINT64_MAX).u64(0).data());
       }},
      {"ListWithAStringLongerThanTheFile", "string 1 of 2",
       [] {
         return one_key(
             "a", Type::kList,
             GgufBuilder::list_start(Type::kString, 2).string("x").raw(long_string(100000)).data());
       }},
      {"ListWithAStringNotUtf8", "string 1 under",
       [] {
         return GgufBuilder().set_strings("a", {"x", "\xff"}).build();
       }},
      {"ListWithABooleanNeitherTrueNorFalse", "boolean",
       [] {
         return one_key("a", Type::kList,
                        GgufBuilder::list_start(Type::kBool, 2).u8(1).u8(7).data());
       }},

      // Alignment.
      {"AlignmentZero", "general.alignment", [] { return with_alignment(0); }},
      {"AlignmentNoPowerOfTwo", "general.alignment", [] { return with_alignment(48); }},
      {"AlignmentTooSmall", "general.alignment", [] { return with_alignment(4); }},
      {"AlignmentTooLarge", "general.alignment", [] { return with_alignment(1u << 31); }},
      {"AlignmentNoNumber", "general.alignment",
       [] { return GgufBuilder().set_string("general.alignment", "32").build(); }},

      // Tensors.
      {"TensorTwice", "twice",
       [] {
         return GgufBuilder()
             .add_tensor("t", {8}, QuantType::kF32)
             .add_tensor("t", {8}, QuantType::kF32)
             .build();
       }},
      {"TensorNameEmpty", "plain name", [] { return one_tensor({8}, kF32Type, 0, ""); }},
      {"TensorNameNotUtf8", "plain name",
       [] { return one_tensor({8}, kF32Type, 0, "\xed\xa0\x80"); }},
      {"TensorNameWithNul", "plain name",
       [] { return one_tensor({8}, kF32Type, 0, std::string_view("t\0", 2)); }},
      {"TensorNameTooLong", "65536 bytes",
       [] { return one_tensor({8}, kF32Type, 0, std::string(65536, 't')); }},
      {"NoDimensions", "0 dimensions", [] { return one_tensor({}); }},
      {"FiveDimensions", "5 dimensions",
       [] {
         return one_tensor({1, 1, 1, 1, 1});
       }},
      {"DimensionCountHuge", "dimensions",
       [] {
         GgufBuilder f;
         f.tensor_count = 1;
         return f.build().substr(0, 24) +
                Bytes().string("t").u32(UINT32_MAX).raw(std::string(200, '\1')).data();
       }},
      {"FourDimensionsInUse", "four dimensions",
       [] {
         return one_tensor({2, 2, 2, 2});
       }},
      {"ZeroDimension", "dimension 0", [] { return one_tensor({0}); }},
      {"ZeroOuterDimension", "dimension 1",
       [] {
         return one_tensor({8, 0});
       }},
      {"DimensionHuge", "dimension 0", [] { return one_tensor({uint64_t{1} << 32}); }},
      {"DimensionsWhoseProductOverflows", "larger than any file",
       [] {
         return one_tensor({UINT32_MAX, UINT32_MAX, UINT32_MAX});
       }},
      {"TypeUnknown", "type 9999", [] { return one_tensor({256}, 9999); }},
      {"TypeWithANameNotRead", "tq1_0", [] { return one_tensor({256}, 34); }},
      {"TypeOfOurOwn", "type 200", [] { return one_tensor({256}, 200); }},
      {"RowNoWholeNumberOfBlocks", "rows of 33 values",
       [] {
         return one_tensor({33, 2}, kQ4_0Type);
       }},
      {"OffsetMisaligned", "offset 4", [] { return one_tensor({8}, kF32Type, 4); }},
      {"OffsetThatOverflows", "larger than any file",
       [] { return one_tensor({8}, kF32Type, UINT64_MAX - 31); }},
      {"TensorsOverlap", "overlap",
       [] {
         return GgufBuilder()
                    .describe_tensor("a", {64}, 0, 0)
                    .describe_tensor("b", {64}, 0, 224)
                    .build() +
                std::string(1024, '\0');
       }},
      {"TensorsAtTheSamePlace", "overlap",
       [] {
         return GgufBuilder()
                    .describe_tensor("a", {8}, 0, 0)
                    .describe_tensor("b", {8}, 0, 0)
                    .build() +
                std::string(1024, '\0');
       }},
      {"TensorInsideAnother", "overlap",
       [] {
         return GgufBuilder()
                    .describe_tensor("a", {64}, 0, 0)
                    .describe_tensor("b", {8}, 0, 64)
                    .build() +
                std::string(1024, '\0');
       }},
      {"TensorDescriptionCut", "ends early",
       [] {
         GgufBuilder f;
         f.tensor_count = 1;
         return f.build().substr(0, 24) +
                Bytes().string("weight, a name of some length").u32(1).u64(8).data();
       }},
  };
}

class Malformed : public ::testing::TestWithParam<MalformedCase> {};

TEST_P(Malformed, IsRefusedWithASentence) {
  const std::string bytes = GetParam().bytes();
  for (const ReadWhat what : {ReadWhat::kEverything, ReadWhat::kHeaderOnly}) {
    const auto contents = read_gguf(std::as_bytes(std::span(bytes)), "model.gguf", what);
    ASSERT_FALSE(contents);
    const std::string& message = contents.error().message;
    EXPECT_TRUE(message.starts_with("model.gguf: ")) << message;
    EXPECT_NE(message.find(GetParam().expected), std::string::npos) << message;
    EXPECT_LT(message.size(), 600u);
    for (const char character : message)
      EXPECT_GE(static_cast<unsigned char>(character), 0x20) << message;
  }
}

INSTANTIATE_TEST_SUITE_P(Gguf, Malformed, ::testing::ValuesIn(malformed_cases()),
                         [](const auto& test) { return std::string(test.param.name); });

// Past the end is an error only where the tensors are wanted.
TEST(MalformedGguf, TensorPastTheEnd) {
  const std::string bytes = GgufBuilder().describe_tensor("t", {1024}, kF32Type, 1 << 20).build();
  const auto refused =
      read_gguf(std::as_bytes(std::span(bytes)), "model.gguf", ReadWhat::kEverything);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("cut off"), std::string::npos) << refused.error().message;
  const auto header =
      read_gguf(std::as_bytes(std::span(bytes)), "model.gguf", ReadWhat::kHeaderOnly);
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->bytes_needed, bytes.size() + (1 << 20) + 4096);
}

TEST(MalformedGguf, ListsTogetherHaveALimit) {
  // Real bytes, so that only the limit can refuse them.
  const auto booleans = [](uint64_t count) {
    return GgufBuilder::list_start(Type::kBool, count).raw(std::string(count, '\1')).data();
  };
  GgufBuilder file;
  const std::string fits = file.set_raw("a", Type::kList, booleans(kGgufListElementsMax)).build();
  EXPECT_TRUE(read_gguf(std::as_bytes(std::span(fits)), "model.gguf", ReadWhat::kEverything));
  const std::string too_many = file.set_raw("b", Type::kList, booleans(1)).build();
  const auto refused =
      read_gguf(std::as_bytes(std::span(too_many)), "model.gguf", ReadWhat::kEverything);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(std::to_string(kGgufListElementsMax)), std::string::npos)
      << refused.error().message;
}

}  // namespace
}  // namespace hadal
