#include "quant/format.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace hadal {
namespace {

TEST(QuantFormat, TableHasEveryFormatOnce) {
  const std::set<std::string_view> expected = {
      "f32",     "f16",    "bf16",  "f8_e4m3", "q4_0",  "q4_1",   "q5_0",   "q5_1",
      "q8_0",    "q2_k",   "q3_k",  "q4_k",    "q5_k",  "q6_k",   "iq1_s",  "iq1_m",
      "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_nl", "iq4_xs", "mxfp4"};
  std::set<std::string_view> found;
  for (const QuantFormat& format : quant_formats()) {
    EXPECT_TRUE(found.insert(format.name).second) << format.name;
    EXPECT_NE(format.decode, nullptr) << format.name;
    EXPECT_EQ(&quant_format(format.type), &format);
    EXPECT_EQ(find_quant_format(format.name), &format);
  }
  EXPECT_EQ(found, expected);
}

TEST(QuantFormat, NumbersAreThoseOfGguf) {
  EXPECT_EQ(find_gguf_format(0)->name, "f32");
  EXPECT_EQ(find_gguf_format(12)->name, "q4_k");
  EXPECT_EQ(find_gguf_format(16)->name, "iq2_xxs");
  EXPECT_EQ(find_gguf_format(17)->name, "iq2_xs");
  EXPECT_EQ(find_gguf_format(18)->name, "iq3_xxs");
  EXPECT_EQ(find_gguf_format(19)->name, "iq1_s");
  EXPECT_EQ(find_gguf_format(21)->name, "iq3_s");
  EXPECT_EQ(find_gguf_format(22)->name, "iq2_s");
  EXPECT_EQ(find_gguf_format(23)->name, "iq4_xs");
  EXPECT_EQ(find_gguf_format(29)->name, "iq1_m");
  EXPECT_EQ(find_gguf_format(39)->name, "mxfp4");
  EXPECT_EQ(find_gguf_format(200), nullptr);  // F8_E4M3 is a number of ours, not of a file's
  EXPECT_EQ(find_gguf_format(34), nullptr);
  EXPECT_EQ(find_gguf_format(256 + 12), nullptr);
  EXPECT_EQ(find_gguf_format(UINT32_MAX), nullptr);
}

TEST(QuantFormat, TypesThatAreNotReadHaveNames) {
  EXPECT_EQ(gguf_type_name(15), "q8_k");
  EXPECT_EQ(gguf_type_name(34), "tq1_0");
  EXPECT_EQ(gguf_type_name(12), "q4_k");
  EXPECT_EQ(gguf_type_name(200), "");
  EXPECT_EQ(gguf_type_name(9999), "");
}

TEST(QuantFormat, UnknownNamesAreNull) {
  EXPECT_EQ(find_quant_format(""), nullptr);
  EXPECT_EQ(find_quant_format("Q4_K"), nullptr);
  EXPECT_EQ(find_quant_format("q4_k_m"), nullptr);
}

TEST(QuantFormat, RowBytes) {
  EXPECT_EQ(row_bytes(QuantType::kF32, 3), 12u);
  EXPECT_EQ(row_bytes(QuantType::kQ4_0, 64), 36u);
  EXPECT_EQ(row_bytes(QuantType::kQ6_K, 512), 420u);
  EXPECT_EQ(row_bytes(QuantType::kF8_E4M3, 7), 7u);
}

TEST(QuantFormatDeathTest, ARowIsAWholeNumberOfBlocks) {
  EXPECT_DEATH(row_bytes(QuantType::kQ4_0, 33), "internal error");
  EXPECT_DEATH(quant_format(static_cast<QuantType>(99)), "internal error");
}

}  // namespace
}  // namespace hadal
