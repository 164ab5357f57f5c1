#include "text/unicode.h"

#include <gtest/gtest.h>

#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal {
namespace {

TEST(Utf8, DecodesWhatUnicodeAllows) {
  const auto value = [](std::string_view text) { return decode_code_point(text, 0).value; };
  const auto bytes = [](std::string_view text) { return int{decode_code_point(text, 0).bytes}; };
  EXPECT_EQ(value("a"), 'a');
  EXPECT_EQ(value("\u00e9"), 0xe9u);
  EXPECT_EQ(value("\u4e2d"), 0x4e2du);
  EXPECT_EQ(value("\U0001f600"), 0x1f600u);
  EXPECT_EQ(value(std::string_view("\0", 1)), 0u);
  // Overlong, surrogate, too large, alone, cut: all invalid, and how much belongs together.
  for (const auto& [text, size] :
       {std::pair("\xc0\x80", 1), std::pair("\xe0\x80\x80", 1), std::pair("\xed\xa0\x80", 1),
        std::pair("\xf4\x90\x80\x80", 1), std::pair("\xf5\x80", 1), std::pair("\x80", 1),
        std::pair("\xe4\xbd", 2),
        std::pair("\xe4\xbd"
                  "a",
                  2),
        std::pair("\xf0\x9f\x98", 3),
        std::pair("\xf0\x9f"
                  "a",
                  2)}) {
    EXPECT_EQ(value(text), kInvalidCodePoint) << text;
    EXPECT_EQ(bytes(text), size) << text;
  }
}

TEST(Utf8, EveryCodePointComesBack) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    append_code_point(text, c);
    const DecodedCodePoint decoded = decode_code_point(text, 0);
    ASSERT_EQ(decoded.value, c);
    ASSERT_EQ(decoded.bytes, text.size());
    ASSERT_EQ(valid_utf8_prefix(text), text.size());
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_EQ(incomplete_utf8_suffix(std::string_view(text).substr(0, cut)), cut);
      ASSERT_EQ(valid_utf8_prefix(std::string_view(text).substr(0, cut)), 0u);
    }
    ASSERT_EQ(incomplete_utf8_suffix(text), 0u);
  }
}

TEST(Utf8, ValidPrefix) {
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
  EXPECT_EQ(valid_utf8_prefix("abc\xff"
                              "d"),
            3u);
  EXPECT_EQ(valid_utf8_prefix("你好\xe4"), 6u);
  EXPECT_EQ(valid_utf8_prefix("sixteen letters, and an end\x80"), 27u);
}

TEST(Utf8, ReplacesMaximalSubparts) {
  // The example of Unicode 15, table 3-8, and neighbours.
  EXPECT_EQ(replace_invalid_utf8("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64"),
            "a\ufffd\ufffd\ufffd"
            "b\ufffd"
            "c\ufffd\ufffd"
            "d");
  EXPECT_EQ(replace_invalid_utf8("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41"),
            "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd"
            "A");
  EXPECT_EQ(replace_invalid_utf8("你好"), "你好");
}

TEST(CodePointClasses, KnowsTheClassesOfPatterns) {
  const CodePointClasses& classes = CodePointClasses::table();
  EXPECT_EQ(classes.of('a'), kLetterClass);
  EXPECT_EQ(classes.of(0x4e2d), kLetterClass);
  EXPECT_EQ(classes.of(0x301), kMarkClass);
  EXPECT_EQ(classes.of('7'), kNumberClass);
  EXPECT_EQ(classes.of(0x2167), kNumberClass);  // ROMAN NUMERAL EIGHT
  EXPECT_EQ(classes.of('!'), kPunctuationClass);
  EXPECT_EQ(classes.of('+'), kSymbolClass);
  EXPECT_EQ(classes.of(0x1f600), kSymbolClass);
  EXPECT_EQ(classes.of('\n'), kSpaceClass);
  EXPECT_EQ(classes.of(0x3000), kSpaceClass);
  EXPECT_EQ(classes.of(0x180e), 0);
  EXPECT_EQ(classes.of(0x200b), 0);
  EXPECT_EQ(classes.of(0x20000), kLetterClass);
  EXPECT_EQ(classes.of(0xe0100), kMarkClass);
  EXPECT_EQ(classes.of(0x10ffff), 0);
  EXPECT_EQ(classes.of(0x110000), kInvalidClass);
  EXPECT_EQ(classes.of(kInvalidCodePoint), kInvalidClass);
}

TEST(Normalize, Forms) {
  EXPECT_EQ(*normalize("e\u0301", NormalForm::kNfc), "\u00e9");
  EXPECT_EQ(*normalize("\u00e9", NormalForm::kNfd), "e\u0301");
  EXPECT_EQ(*normalize("\ufb01", NormalForm::kNfc), "\ufb01");
  EXPECT_EQ(*normalize("\ufb01", NormalForm::kNfkc), "fi");
  EXPECT_EQ(*normalize("\uac00", NormalForm::kNfkd), "\u1100\u1161");
  EXPECT_EQ(*normalize("plain", NormalForm::kNfc), "plain");
}

TEST(DisplayWidth, CountsColumns) {
  EXPECT_EQ(display_width(""), 0u);
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("你好"), 4u);
  EXPECT_EQ(display_width("e\u0301"), 1u);
  EXPECT_EQ(display_width("\uff21"), 2u);                     // fullwidth A
  EXPECT_EQ(display_width("\U0001f600"), 2u);                 // a face
  EXPECT_EQ(display_width("👩‍👩‍👧‍👦"), 2u);  // a family, one cluster
  EXPECT_EQ(display_width("\u2764\ufe0f"), 2u);               // a heart asked for as an emoji
  EXPECT_EQ(display_width("a\xff"
                          "b"),
            3u);
  EXPECT_EQ(display_width("\t"), 0u);
}

}  // namespace
}  // namespace hadal
