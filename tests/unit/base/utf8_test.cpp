#include "base/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace hadal {
namespace {

using namespace std::string_literals;

// The character's bytes by definition: 6 bits a continuation byte.
std::string encode(uint32_t code) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 63)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xc0 | (code >> 6)), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xe0 | (code >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | (code >> 18)), tail(12), tail(6), tail(0)};
}

TEST(Utf8, EveryCodePointButSurrogates) {
  for (uint32_t code = 0; code <= 0x110000; ++code) {
    const bool valid = code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
    ASSERT_EQ(is_utf8(encode(code)), valid) << code;
  }
}

TEST(Utf8, EveryPairAndTripleOfBytesThatStartsACharacter) {
  // All two-byte strings: valid are two ASCII bytes, or a two-byte character.
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text = {static_cast<char>(first), static_cast<char>(second)};
      const bool ascii = first < 0x80 && second < 0x80;
      const bool character = first >= 0xc2 && first <= 0xdf && second >= 0x80 && second <= 0xbf;
      ASSERT_EQ(is_utf8(text), ascii || character) << first << " " << second;
    }
  }
}

TEST(Utf8, CutCharactersAndOverlongForms) {
  for (const char* text :
       {"\xe4\xb8", "\xf0\x9f\x98", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80",
        "\xf8\x88\x80\x80\x80", "\x80", "\xff", "abcdefgh\xe4", "abcdefghi\xc3("}) {
    EXPECT_FALSE(is_utf8(text)) << quote(text);
  }
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("a\0b"s));
  EXPECT_TRUE(is_utf8("abcdefgh你好😀abcdefgh"));
}

TEST(Utf8, PlainNames) {
  EXPECT_TRUE(is_plain_name("blk.0.attn_q.weight"));
  EXPECT_TRUE(is_plain_name("名"));
  EXPECT_FALSE(is_plain_name(""));
  EXPECT_FALSE(is_plain_name("a\0b"s));
  EXPECT_FALSE(is_plain_name("a\x1b[2J"));
  EXPECT_FALSE(is_plain_name("a\x7f"));
  EXPECT_FALSE(is_plain_name("\xff"));
}

TEST(Utf8, QuotedTextIsHarmless) {
  EXPECT_EQ(quote("abc"), "'abc'");
  EXPECT_EQ(quote("你好"), "'你好'");
  EXPECT_EQ(quote("a\x1b[2J\n\xff\0"s), "'a\\x1b[2J\\x0a\\xff\\x00'");
  EXPECT_EQ(quote("\xc2\x9b"), "'\\xc2\\x9b'");  // U+009B begins a terminal command too
  EXPECT_EQ(quote("\xc2\xa0"), "'\xc2\xa0'");
  EXPECT_EQ(quote(std::string(1000, 'x'), 10), "'xxxxxxxxxx...'");
  EXPECT_EQ(quote(std::string(10, 'x'), 10), "'xxxxxxxxxx'");
  EXPECT_TRUE(is_utf8(quote("你好你好你好你好", 10)));
}

}  // namespace
}  // namespace hadal
