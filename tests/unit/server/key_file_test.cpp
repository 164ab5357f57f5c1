#include "server/access/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

namespace hadal {
namespace {

namespace fs = std::filesystem;

class KeyFile : public testing::Test {
 protected:
  KeyFile() {
    std::string pattern = (fs::temp_directory_path() / "hadal-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ / "home" / "keys.json";
  }
  ~KeyFile() override { fs::remove_all(folder_); }
  void write(std::string_view text, mode_t mode = 0600) {
    fs::create_directories(path_.parent_path());
    std::ofstream(path_) << text;
    chmod(path_.c_str(), mode);
  }
  Status add(const std::string& name) {
    return change_keys(path_, [&](std::vector<StoredKey>& keys) -> Status {
      keys.push_back({.name = name, .digest = digest_of_key(name), .limits = {1, 2, 3}});
      return {};
    });
  }

  fs::path folder_, path_;
};

TEST(Key, IsLongRandomAndKeptAsItsDigest) {
  const auto a = make_key(), b = make_key();
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->size(), 6u + 64u);
  EXPECT_NE(*a, *b);
  // FIPS 180-2's example.
  EXPECT_EQ(to_hex(digest_of_key("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  KeyDigest read{};
  ASSERT_TRUE(from_hex(to_hex(digest_of_key("abc")), read));
  EXPECT_TRUE(same_digest(read, digest_of_key("abc")));
  EXPECT_FALSE(same_digest(read, digest_of_key("abd")));
  EXPECT_FALSE(from_hex("ba78", read));
  EXPECT_FALSE(from_hex(std::string(64, 'g'), read));
  EXPECT_NE(cache_salt_of(digest_of_key("a")), cache_salt_of(digest_of_key("b")));
}

TEST(Key, NamesAreWords) {
  for (const std::string& good :
       std::vector<std::string>{"a", "laptop-2", "A.b_c", std::string(64, 'x')})
    EXPECT_TRUE(is_key_name(good)) << good;
  for (const std::string& bad :
       std::vector<std::string>{"", "a b", "../x", "a\n", "\xc3\xa9", std::string(65, 'x')})
    EXPECT_FALSE(is_key_name(bad)) << bad;
}

TEST_F(KeyFile, IsThereOnceWrittenAndForItsOwnerAlone) {
  EXPECT_TRUE(read_keys(path_)->empty());
  ASSERT_TRUE(add("one"));
  ASSERT_TRUE(add("two"));
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const auto keys = read_keys(path_);
  ASSERT_TRUE(keys);
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_EQ((*keys)[1].name, "two");
  EXPECT_EQ((*keys)[1].digest, digest_of_key("two"));
  EXPECT_EQ((*keys)[1].limits, (KeyLimits{1, 2, 3}));
}

TEST_F(KeyFile, IsTheHomesOwnersWhereRootWritesIt) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may give files away";
  constexpr uid_t kOwner = 54321, kGroup = 54322;
  fs::create_directories(path_.parent_path());
  ASSERT_EQ(chown(path_.parent_path().c_str(), kOwner, kGroup), 0);
  for (const char* name : {"one", "two"}) {
    ASSERT_TRUE(add(name));
    for (const std::string& file : {path_.string(), path_.string() + ".lock"}) {
      struct stat status {};
      ASSERT_EQ(stat(file.c_str(), &status), 0) << file;
      EXPECT_EQ(status.st_uid, kOwner) << file;
      EXPECT_EQ(status.st_gid, kGroup) << file;
      EXPECT_EQ(status.st_mode & 0777u, 0600u) << file;
    }
  }
}

TEST_F(KeyFile, ALinkInItsPlaceLeadsNowhere) {
  fs::create_directories(path_.parent_path());
  const fs::path other = folder_ / "other";
  std::ofstream(other) << "what it was";
  fs::create_hard_link(other, path_.string() + ".new");
  ASSERT_TRUE(add("one"));
  std::string text;
  std::getline(std::ifstream(other) >> std::ws, text);
  EXPECT_EQ(text, "what it was");
  EXPECT_EQ(fs::hard_link_count(other), 1u);
}

TEST_F(KeyFile, AnErrorLeavesItAsItWas) {
  ASSERT_TRUE(add("one"));
  EXPECT_FALSE(change_keys(path_, [](std::vector<StoredKey>& keys) -> Status {
    keys.clear();
    return fail("no");
  }));
  EXPECT_EQ(read_keys(path_)->size(), 1u);
}

TEST_F(KeyFile, LosesNothingWhereManyWrite) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this, i] { EXPECT_TRUE(add("key" + std::to_string(i))); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(read_keys(path_)->size(), 8u);
}

TEST_F(KeyFile, RefusesWhatIsNone) {
  const std::string digest(64, '0');
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("{"),
        std::string("{\"version\":2,\"keys\":[]}"), std::string("{\"version\":1,\"keys\":{}}"),
        std::string("{\"version\":1,\"keys\":[1]}"),
        "{\"version\":1,\"keys\":[{\"name\":\"a b\",\"sha256\":\"" + digest + "\"}]}",
        std::string("{\"version\":1,\"keys\":[{\"name\":\"a\",\"sha256\":\"00\"}]}"),
        "{\"version\":1,\"keys\":[{\"name\":\"a\",\"sha256\":\"" + digest +
            "\",\"concurrent\":-1}]}",
        std::string(100, '[')}) {
    write(text);
    EXPECT_FALSE(read_keys(path_)) << text;
    EXPECT_FALSE(add("x")) << text;
  }
  write("{\"version\":1,\"keys\":[{\"name\":\"a\",\"sha256\":\"" + digest + "\"}]}");
  EXPECT_EQ(read_keys(path_)->size(), 1u);
}

TEST_F(KeyFile, RefusesOneThatOthersMayWrite) {
  ASSERT_TRUE(add("one"));
  chmod(path_.c_str(), 0666);
  const auto keys = read_keys(path_);
  ASSERT_FALSE(keys);
  EXPECT_NE(keys.error().message.find("chmod 600"), std::string::npos);
}

}  // namespace
}  // namespace hadal
