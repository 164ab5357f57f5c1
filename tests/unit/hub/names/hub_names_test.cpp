#include "hub/names/hub_names.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(HubNamesTest, PathsThatAreTaken) {
  for (const char* path :
       {"model.gguf", "Q4_K_M/model-Q4_K_M-00001-of-00003.gguf", ".gitattributes", "a/b/c/d.json",
        "tokenizer_config.json", "v1.5+fix@2=x,y.gguf", "模型/权重.gguf", "modèle.gguf"}) {
    EXPECT_TRUE(check_repository_path(path)) << path;
  }
}

TEST(HubNamesTest, PathsThatAreRefused) {
  const std::string deep = "a/a/a/a/a/a/a/a/a";
  for (const std::string& path : {std::string(""),
                                  std::string("/etc/passwd"),
                                  std::string("../x"),
                                  std::string("a/../x"),
                                  std::string("a/.."),
                                  std::string("a//b"),
                                  std::string("a/"),
                                  std::string("./x"),
                                  std::string("-rf"),
                                  std::string("a/-rf"),
                                  std::string("~/x"),
                                  std::string("a b"),
                                  std::string("a;b"),
                                  std::string("$(x)"),
                                  std::string("`x`"),
                                  std::string("a|b"),
                                  std::string("a&b"),
                                  std::string("a>b"),
                                  std::string("a*"),
                                  std::string("a?"),
                                  std::string("a'b"),
                                  std::string("a\"b"),
                                  std::string("a\\b"),
                                  std::string("a\nb"),
                                  std::string("a\x1b[2Jb"),
                                  std::string("a\0b", 3),
                                  std::string("a\x7f"),
                                  std::string("a:b"),
                                  std::string("a%2e"),
                                  std::string("a#b"),
                                  std::string("a!b"),
                                  std::string("\xff\xfe"),
                                  std::string("a\u202eb") /* turns text round */,
                                  std::string("a\u200bb") /* no width */,
                                  std::string("a\u0085b") /* a C1 control */,
                                  std::string("a\ufeffb"),
                                  std::string("\U000e0041") /* a tag */,
                                  std::string("\uff0fetc") /* a slash by its looks */,
                                  deep,
                                  std::string(300, 'a'),
                                  std::string(600, 'a')}) {
    EXPECT_FALSE(check_repository_path(path)) << path;
  }
  EXPECT_TRUE(check_repository_path(std::string(kNameBytesMax, 'a')));
  EXPECT_FALSE(check_repository_path(std::string(kNameBytesMax + 1, 'a')));
}

TEST(HubNamesTest, Repositories) {
  for (const char* name :
       {"deepseek-ai/DeepSeek-R1", "a/b", "unsloth/DeepSeek-V2.5-GGUF", "A_b/c.d"}) {
    EXPECT_TRUE(check_repository(name)) << name;
  }
  for (const char* name : {"", "a", "a/b/c", "../b", "a/..", "a--b/c", "a/b--c", "a/.b", "-a/b",
                           "a/b c", "a/b\n", "a/", "/b", "模型/b", "a/b@c"}) {
    EXPECT_FALSE(check_repository(name)) << name;
  }
}

TEST(HubNamesTest, RevisionsAndCommits) {
  for (const char* name : {"main", "refs/pr/4", "v1.0", "0123456789abcdef0123456789abcdef01234567"})
    EXPECT_TRUE(check_revision(name)) << name;
  for (const char* name : {"", "..", "a/../b", "/a", "a b", "-x", "a?b"})
    EXPECT_FALSE(check_revision(name)) << name;
  EXPECT_TRUE(is_commit("0123456789abcdef0123456789abcdef01234567"));
  EXPECT_FALSE(is_commit("0123456789ABCDEF0123456789abcdef01234567"));
  EXPECT_FALSE(is_commit("main"));
  EXPECT_FALSE(is_commit("../../../../0123456789abcdef0123456789ab"));
}

TEST(HubNamesTest, Digests) {
  const std::string sha256(64, 'A');
  const auto good = make_digest(DigestKind::kSha256, sha256);
  ASSERT_TRUE(good);
  EXPECT_EQ(good->hex, std::string(64, 'a'));
  EXPECT_FALSE(make_digest(DigestKind::kSha256, std::string(63, 'a')));
  EXPECT_FALSE(make_digest(DigestKind::kSha256, std::string(65, 'a')));
  EXPECT_FALSE(make_digest(DigestKind::kGitSha1, sha256));
  EXPECT_FALSE(make_digest(DigestKind::kSha256, "../" + std::string(61, 'a')));
  EXPECT_FALSE(make_digest(DigestKind::kGitSha1, ""));
}

TEST(HubNamesTest, ModelNames) {
  for (const char* name : {"deepseek-r1:1.5b:q8_0", "hf:a/b@main:q4", "stories260K"})
    EXPECT_TRUE(check_model_name(name)) << name;
  for (const char* name : {"", "..", "a/../b", ".hidden", "a b", "a\nb", "-x", "a;b"})
    EXPECT_FALSE(check_model_name(name)) << name;
}

TEST(HubNamesTest, WhatIsShownCannotSteerATerminal) {
  EXPECT_EQ(shown("a\x1b[2J\nb"), "'a?[2J?b'");
  EXPECT_EQ(shown(std::string(100, 'x')).size(), 80 + 5u);
}

}  // namespace
}  // namespace hadal
