#include "hub/sites/hub_listing.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

const std::string kSha256(64, 'a');
const std::string kSha1(40, 'b');

TEST(HubListingTest, HuggingFaceTree) {
  Listing listing;
  const std::string json = R"([{"type":"directory","oid":"x","size":0,"path":"sub"},
    {"type":"file","oid":")" +
                           kSha1 + R"(","size":12,"path":"config.json"},
    {"type":"file","oid":")" +
                           kSha1 + R"(","size":130,"path":"sub/m.gguf","lfs":{"oid":")" + kSha256 +
                           R"(","size":5000000000,"pointerSize":130},"xetHash":"y"}])";
  ASSERT_TRUE(read_hugging_face_tree(json, "hub", listing));
  ASSERT_EQ(listing.files.size(), 2u);
  EXPECT_EQ(listing.files[0].path, "config.json");
  EXPECT_EQ(listing.files[0].bytes, 12u);
  EXPECT_EQ(listing.files[0].digest, (Digest{DigestKind::kGitSha1, kSha1}));
  EXPECT_EQ(listing.files[1].bytes, 5000000000u);
  EXPECT_EQ(listing.files[1].digest, (Digest{DigestKind::kSha256, kSha256}));
  EXPECT_EQ(listing.refused_count, 0u);
}

TEST(HubListingTest, EntriesThatBreakARuleAreLeftOut) {
  const auto entry = [](const std::string& path, const std::string& size, const std::string& oid) {
    return R"({"type":"file","path":")" + path + R"(","size":)" + size + R"(,"oid":")" + oid +
           R"("})";
  };
  for (const std::string& bad :
       {entry("../../.ssh/authorized_keys", "1", kSha1), entry("/etc/cron.d/x", "1", kSha1),
        entry("a/../../x", "1", kSha1), entry("x", "-1", kSha1), entry("x", "1.5", kSha1),
        entry("x", "18446744073709551615", kSha1), entry("x", "\"1\"", kSha1),
        entry("x", "1", "../../x"), entry("x", "1", ""), entry("x\\u001b[2J", "1", kSha1),
        entry("a;rm -rf b", "1", kSha1), entry("-rf", "1", kSha1), std::string("7"),
        std::string("null"), std::string(R"({"type":"file"})"),
        R"({"type":"file","path":"x","size":1,"oid":")" + kSha1 +
            R"(","lfs":{"oid":"short","size":1}})"}) {
    Listing listing;
    ASSERT_TRUE(
        read_hugging_face_tree("[" + bad + "," + entry("good", "1", kSha1) + "]", "hub", listing))
        << bad;
    EXPECT_EQ(listing.files.size(), 1u) << bad;
    EXPECT_EQ(listing.refused_count, 1u) << bad;
    EXPECT_EQ(listing.refused.front().find('\x1b'), std::string::npos);
  }
}

TEST(HubListingTest, AnswersThatAreNone) {
  for (const std::string& text :
       {std::string(""), std::string("{}"), std::string("null"), std::string("<html>"),
        std::string("[1,"), std::string(100000, '['), std::string(R"({"error":"x"})")}) {
    Listing listing;
    EXPECT_FALSE(read_hugging_face_tree(text, "hub", listing)) << text.substr(0, 20);
    EXPECT_FALSE(read_modelscope_files(text, "hub", listing)) << text.substr(0, 20);
    EXPECT_FALSE(read_hugging_face_commit(text, "hub")) << text.substr(0, 20);
  }
  EXPECT_EQ(*read_hugging_face_commit(R"({"sha":")" + kSha1 + R"("})", "hub"), kSha1);
  for (const char* sha : {"main", "../../x", "", "BBBB"}) {
    EXPECT_FALSE(read_hugging_face_commit(std::string(R"({"sha":")") + sha + R"("})", "hub"))
        << sha;
  }
}

TEST(HubListingTest, ManyFilesAreTooMany) {
  Listing listing;
  for (size_t i = 0; i < kListingFilesMax; ++i)
    ASSERT_TRUE(listing.add({.path = "f" + std::to_string(i)}));
  EXPECT_FALSE(listing.add({.path = "one-more"}));
  for (int i = 0; i < 100; ++i) listing.refuse(Error{"x"});
  EXPECT_EQ(listing.refused.size(), Listing::kRefusedShownMax);
  EXPECT_EQ(listing.refused_count, 100u);
}

TEST(HubListingTest, ModelScopeFiles) {
  Listing listing;
  ASSERT_TRUE(
      read_modelscope_files(R"({"Code":200,"Data":{"Files":[{"Type":"tree","Path":"a","Size":0},
    {"Type":"blob","Path":"a/m.gguf","Size":7,"Sha256":")" +
                                kSha256 + R"("},
    {"Type":"blob","Path":"plain","Size":7,"Sha256":""},
    {"Type":"blob","Path":"../out","Size":7,"Sha256":""}]}})",
                            "hub", listing));
  ASSERT_EQ(listing.files.size(), 2u);
  EXPECT_EQ(listing.files[0].digest.hex, kSha256);
  EXPECT_EQ(listing.files[1].digest.kind, DigestKind::kNone);
  EXPECT_EQ(listing.refused_count, 1u);
  const auto refused = read_modelscope_files(
      R"({"Code":10010205001,"Message":"not found","Data":null})", "hub", listing);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("not found"), std::string::npos);
}

}  // namespace
}  // namespace hadal
