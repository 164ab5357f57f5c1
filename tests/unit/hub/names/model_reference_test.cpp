#include "hub/names/model_reference.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(ModelReferenceTest, Hubs) {
  const auto plain = parse_model_reference("hf:owner/repo");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->kind, ModelReference::Kind::kHuggingFace);
  EXPECT_EQ(plain->repository, "owner/repo");
  const auto full = parse_model_reference("ms:owner/repo@v1.0:q4_k_m");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->kind, ModelReference::Kind::kModelScope);
  EXPECT_EQ(full->revision, "v1.0");
  EXPECT_EQ(full->format, "q4_k_m");
  EXPECT_EQ(full->text(), "ms:owner/repo@v1.0:q4_k_m");
}

TEST(ModelReferenceTest, PagesOfHubs) {
  const auto page =
      parse_model_reference("https://huggingface.co/owner/repo/blob/main/m-Q8_0.gguf?x=y");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->text(), "hf:owner/repo@main:m-Q8_0.gguf");
  EXPECT_EQ(parse_model_reference("https://modelscope.cn/models/owner/repo")->text(),
            "ms:owner/repo");
  EXPECT_EQ(parse_model_reference("https://huggingface.co.evil.com/owner/repo")->kind,
            ModelReference::Kind::kUrl);
}

TEST(ModelReferenceTest, Addresses) {
  const auto url = parse_model_reference("https://host/a.gguf#sha256=" + std::string(64, 'A'));
  ASSERT_TRUE(url);
  EXPECT_EQ(url->url, "https://host/a.gguf");
  EXPECT_EQ(url->digest.hex, std::string(64, 'a'));
  EXPECT_FALSE(parse_model_reference("https://host/a.gguf#sha256=12"));
  EXPECT_FALSE(parse_model_reference("https://host/a.gguf#other"));
}

TEST(ModelReferenceTest, Packages) {
  const auto packages =
      parse_model_reference("pypi:a-1==0.9.0!a_1/data/x.bin+b==1!y#sha256=" + std::string(64, 'b'));
  ASSERT_TRUE(packages);
  ASSERT_EQ(packages->members.size(), 2u);
  EXPECT_EQ(packages->members[0].package, "a-1");
  EXPECT_EQ(packages->members[0].version, "0.9.0");
  EXPECT_EQ(packages->members[0].member, "a_1/data/x.bin");
  EXPECT_EQ(packages->digest.hex, std::string(64, 'b'));
}

TEST(ModelReferenceTest, WhatIsNone) {
  for (const std::string& text :
       {std::string("hf:"), std::string("hf:owner"), std::string("hf:../repo"),
        std::string("hf:owner/repo:"), std::string("hf:owner/repo:../x"),
        std::string("hf:owner/repo@../x"), std::string("hf:owner/repo name"),
        std::string("hf:owner/repo:$(x)"), std::string("https://user:pw@host/a.gguf"),
        std::string("pypi:a"), std::string("pypi:--index-url=evil==1!x"),
        std::string("pypi:a==1!../x"), std::string("pypi:a==1;x!y"), std::string("pypi:-r==1!x"),
        std::string("pypi:"), "hf:" + std::string(5000, 'a'), std::string("ftp://host/a.gguf")}) {
    EXPECT_FALSE(parse_model_reference(text)) << text;
  }
}

}  // namespace
}  // namespace hadal
