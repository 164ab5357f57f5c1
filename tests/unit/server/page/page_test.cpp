// The page's files fit together: what one names, another is.
#include "server/page/page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <string>

namespace hadal {
namespace {

std::string text_of(std::string_view path) {
  const auto files = page_files();
  const auto file = std::ranges::find(files, path, &PageFile::path);
  if (file == files.end()) return {};
  return std::string(file->bytes);
}

bool exists(std::string_view path) {
  return !text_of(path).empty();
}

std::set<std::string> matches(const std::string& text, const char* pattern) {
  const std::regex expression(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), expression), end; match != end;
       ++match) {
    found.insert((*match)[1]);
  }
  return found;
}

// Our own modules; the libraries are long single lines.
const char* const kModules[] = {"answer.js", "api.js",      "dom.js",   "main.js", "markdown.js",
                                "meters.js", "settings.js", "store.js", "view.js", "words.js"};

TEST(Page, EveryFileHasContentTypeAndTag) {
  std::set<std::string_view> paths;
  for (const PageFile& file : page_files()) {
    EXPECT_TRUE(paths.insert(file.path).second) << file.path;
    EXPECT_FALSE(file.content_type.empty()) << file.path;
    EXPECT_TRUE(file.etag.starts_with("W/\"") && file.etag.ends_with('"')) << file.path;
    EXPECT_FALSE(file.bytes.empty()) << file.path;
  }
  EXPECT_TRUE(paths.contains("index.html"));
}

// RFC 1952: a magic number first; last, in four bytes, the length of what was packed.
TEST(Page, CompressedFormsAreOfTheSameLength) {
  size_t packed = 0;
  for (const PageFile& file : page_files()) {
    if (file.gzip.empty()) continue;
    ++packed;
    ASSERT_TRUE(file.gzip.starts_with("\x1f\x8b")) << file.path;
    size_t length = 0;
    for (size_t i = 1; i <= 4; ++i) {
      length = length << 8 | static_cast<unsigned char>(file.gzip[file.gzip.size() - i]);
    }
    EXPECT_EQ(length, file.bytes.size()) << file.path;
  }
  EXPECT_GT(packed, 10u);
}

TEST(Page, NothingInlineThatThePolicyForbids) {
  const std::string html = text_of("index.html");
  EXPECT_EQ(matches(html, R"((<style|\sstyle=|\son[a-z]+=|javascript:))"), std::set<std::string>{});
  EXPECT_EQ(matches(html, R"(<script(?![^>]*\ssrc=)([^>]*)>)"), std::set<std::string>{});
}

TEST(Page, NothingFromElsewhere) {
  for (const char* name : {"index.html", "style.css", "prose.css"}) {
    EXPECT_EQ(matches(text_of(name), R"(((?:https?:)?//[a-z]\w*\.\w+))"), std::set<std::string>{})
        << name;
  }
}

TEST(Page, EveryNamedFileIsThere) {
  for (const std::string& name : matches(text_of("index.html"), R"re("page/([^"]+)")re")) {
    EXPECT_TRUE(exists(name)) << name;
  }
  for (const char* module : kModules) {
    ASSERT_TRUE(exists(module)) << module;
    for (const std::string& name : matches(text_of(module), R"(from '\./([^']+)')")) {
      EXPECT_TRUE(exists(name)) << module << " imports " << name;
    }
  }
  for (const char* name : {"formulas.js", "highlight.js", "licences.txt"}) {
    EXPECT_TRUE(exists(name)) << name;  // loaded by name when needed
  }
  const auto fonts = matches(text_of("formulas.css"), R"(url\((fonts/[^)]+\.woff2)\))");
  EXPECT_GT(fonts.size(), 10u);
  for (const std::string& name : fonts) EXPECT_TRUE(exists(name)) << name;
}

TEST(Page, EveryWordIsInTheTableInBothLanguages) {
  const std::string words = text_of("words.js");
  const auto table = matches(words, R"(\n  (\w+): \[)");
  EXPECT_EQ(table, matches(words, R"(\n  (\w+): \[(?:'[^'\n]+'|"[^"\n]+"), '[^'\n]+'\],)"));
  std::set<std::string> used =
      matches(text_of("index.html"), R"re(data-(?:word|label|hint|tip)="(\w+)")re");
  for (const char* module : kModules) {
    const std::string text = text_of(module);
    used.merge(matches(text, R"(\bsay\('(\w+)')"));
    used.merge(matches(text, R"('data-(?:word|label|hint|tip)': '(\w+)')"));
    used.merge(matches(text, R"(button\('\w+', '(\w+)')"));
  }
  EXPECT_GT(used.size(), 40u);
  for (const std::string& word : used) EXPECT_TRUE(table.contains(word)) << word;
}

TEST(Page, EveryIconIsDrawn) {
  const std::string dom = text_of("dom.js");
  const auto icons = matches(dom, R"(\n  (\w+): 'M)");
  std::set<std::string> used = matches(text_of("index.html"), R"re(data-icon="(\w+)")re");
  for (const char* module : kModules) {
    used.merge(matches(text_of(module), R"((?:button|icon)\('(\w+)')"));
  }
  EXPECT_EQ(used, icons);
}

TEST(Page, EveryElementThatIsAskedForIsThere) {
  const auto ids = matches(text_of("index.html"), R"re(\sid="([\w-]+)")re");
  for (const char* module : kModules) {
    for (const std::string& id : matches(text_of(module), R"(find\('([\w-]+)'\))")) {
      EXPECT_TRUE(ids.contains(id)) << module << " wants " << id;
    }
  }
}

}  // namespace
}  // namespace hadal
