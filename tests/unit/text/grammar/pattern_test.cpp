// Patterns against PCRE2, which reads them on its own: for random patterns and texts both find the
// same.
#include "text/grammar/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <gtest/gtest.h>
#include <pcre2.h>

#include <random>
#include <string>

namespace hadal {
namespace {

constexpr PatternLimits kLimits = {1024, 512};

Result<Dfa> compile(const std::string& pattern) {
  WorkBudget budget = {8'000'000, 50'000};
  return compile_pattern(pattern, kLimits, budget);
}

bool pcre_finds(const std::string& pattern, const std::string& text) {
  int error = 0;
  size_t at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                                   &error, &at, nullptr);
  EXPECT_NE(code, nullptr) << pattern;
  if (code == nullptr) return false;
  pcre2_match_data* match = pcre2_match_data_create_from_pattern(code, nullptr);
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                match, nullptr);
  pcre2_match_data_free(match);
  pcre2_code_free(code);
  return found >= 0;
}

class RandomPattern {
 public:
  explicit RandomPattern(uint32_t seed) : random_(seed) {}

  size_t below(size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random_);
  }

  std::string pattern(size_t depth = 0) {
    std::string text;
    const size_t branches = below(4) == 0 ? 2 : 1;
    for (size_t b = 0; b < branches; ++b) {
      if (b > 0) text += "|";
      if (below(3) == 0) text += "^";
      for (size_t i = below(4); i > 0; --i) text += atom(depth) + quantifier();
      if (below(3) == 0) text += "$";
    }
    return text;
  }

  std::string text() {
    std::string text;
    for (size_t i = below(7); i > 0; --i) text += kCharacters[below(std::size(kCharacters))];
    return text;
  }

 private:
  static constexpr const char* kCharacters[] = {"a", "b", "c", "1", " ", "é", "\"", "😀", "\t", "_"};

  std::string atom(size_t depth) {
    static constexpr const char* kAtoms[] = {"a",    "b",      "c",     ".",     "\\d",   "\\w",
                                             "[ab]", "[^a]",   "[b-é]", "é",     "\\D",   "[\\d_]",
                                             "1",    "[^\\w]", "\\t",   "\\x61", "[^b-😀]"};
    if (depth < 3 && below(5) == 0) return (below(2) ? "(" : "(?:") + pattern(depth + 1) + ")";
    return kAtoms[below(std::size(kAtoms))];
  }

  std::string quantifier() {
    static constexpr const char* kQuantifiers[] = {"*",    "+",     "?",  "{2}",
                                                   "{1,}", "{0,2}", "*?", "+?"};
    return below(3) == 0 ? kQuantifiers[below(std::size(kQuantifiers))] : "";
  }

  std::mt19937 random_;
};

TEST(Pattern, AgreesWithPcre) {
  RandomPattern random(1);
  size_t found = 0, missed = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string pattern = random.pattern();
    const auto dfa = compile(pattern);
    ASSERT_TRUE(dfa) << pattern << ": " << dfa.error().message;
    for (int t = 0; t < 10; ++t) {
      const std::string text = random.text();
      const bool expected = pcre_finds(pattern, text);
      EXPECT_EQ(dfa->matches(text), expected) << pattern << " in " << text;
      ++(expected ? found : missed);
    }
  }
  EXPECT_GT(found, 1000u);
  EXPECT_GT(missed, 1000u);
}

TEST(Pattern, AsEcmaHasIt) {
  struct Case {
    const char *pattern, *text;
    bool is_found;
  };
  for (const Case& c : {Case{"^\\s$", "\xC2\xA0", true}, Case{"^\\s$", "\xE2\x80\xA8", true},
                        Case{"^\\d$", "\xD9\xA1", false}, Case{"^.$", "\n", false},
                        Case{"^.$", "\xE2\x80\xA8", false}, Case{"a$", "a\n", false},
                        Case{"^\\u{1F600}$", "😀", true}, Case{"^\\ud83d\\ude00$", "😀", true},
                        Case{"^[\\b]$", "\b", true}, Case{"^\\/\\.\\-?$", "/.", false},
                        Case{"^\\cA$", "\x01", false}, Case{"[]", "a", false},
                        Case{"^[^]$", "\n", true}, Case{"", "x", true}, Case{"$^", "", true},
                        Case{"$^", "x", false}, Case{"a^b", "ab", false}}) {
    const auto dfa = compile(c.pattern);
    if (!dfa) {
      EXPECT_FALSE(c.is_found) << c.pattern << ": " << dfa.error().message;
      continue;
    }
    EXPECT_EQ(dfa->matches(c.text), c.is_found) << c.pattern << " in " << c.text;
  }
}

}  // namespace
}  // namespace hadal
