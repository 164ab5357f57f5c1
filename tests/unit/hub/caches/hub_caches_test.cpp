// hugging_face_cache.h, modelscope_cache.h, pulled_models.h: what lies where.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <thread>

#include "hub/caches/hugging_face_cache.h"
#include "hub/caches/modelscope_cache.h"
#include "hub/disk/durable_file.h"
#include "hub/disk/file_digest.h"
#include "hub/pull.h"
#include "hub/pull_plan.h"
#include "hub/sites/pypi_source.h"
#include "hub/transfer/speed_meter.h"
#include "support/temp_folder.h"

namespace hadal {
namespace {

const std::string kCommit(40, 'c');
const std::string kOther(40, 'd');

class HuggingFaceCacheTest : public testing::Test {
 protected:
  HubFile blob(const std::string& path, const std::string& content, char digit) {
    folder_.write("models--a--b/blobs/" + std::string(64, digit), content);
    return {.path = path,
            .bytes = content.size(),
            .digest = {DigestKind::kSha256, std::string(64, digit)}};
  }
  TempFolder folder_;
  HuggingFaceCache cache_{folder_.path()};
};

TEST_F(HuggingFaceCacheTest, LinksAreRelativeAndStay) {
  const HubFile file = blob("sub/m.gguf", "bytes", '1');
  EXPECT_TRUE(cache_.has_blob("a/b", file));
  EXPECT_FALSE(cache_.has_blob("a/b", {.path = "m", .bytes = 6, .digest = file.digest}))
      << "another size";
  ASSERT_TRUE(cache_.link("a/b", kCommit, file));
  ASSERT_TRUE(cache_.link("a/b", kCommit, file));
  const auto pointer = cache_.snapshot("a/b", kCommit) / "sub/m.gguf";
  EXPECT_EQ(std::filesystem::read_symlink(pointer).string(), "../../../blobs/" + file.digest.hex);
  EXPECT_EQ(std::filesystem::file_size(pointer), 5u);
  const auto files = cache_.cached_files("a/b", kCommit);
  ASSERT_TRUE(files);
  ASSERT_EQ(files->files.size(), 1u);
  EXPECT_EQ(files->files[0].path, "sub/m.gguf");
  EXPECT_EQ(cache_.repositories(), std::vector<std::string>{"a/b"});
}

TEST_F(HuggingFaceCacheTest, Refs) {
  EXPECT_FALSE(cache_.commit("a/b", "main"));
  EXPECT_EQ(cache_.commit("a/b", kCommit), kCommit);
  ASSERT_TRUE(cache_.set_ref("a/b", "refs/pr/1", kCommit));
  EXPECT_EQ(cache_.commit("a/b", "refs/pr/1"), kCommit);
  ASSERT_TRUE(cache_.set_ref("a/b", kCommit, kCommit));
  EXPECT_FALSE(std::filesystem::exists(cache_.repository_folder("a/b") / "refs" / kCommit));
  folder_.write("models--a--b/refs/main", "../../../../etc/passwd");
  EXPECT_FALSE(cache_.commit("a/b", "main")) << "no commit";
}

// The client takes every file in refs/ for a branch, every one in snapshots/ for the model's.
TEST_F(HuggingFaceCacheTest, NothingUnfinishedLiesWhereTheClientLooks) {
  folder_.write(".locks/models--a--b/hadal.tmp",
                "what a killed process left, and longer than a ref");
  const HubFile file = blob("m.gguf", "bytes", '1');
  ASSERT_TRUE(cache_.prepare());
  ASSERT_TRUE(cache_.link("a/b", kCommit, file));
  ASSERT_TRUE(cache_.set_ref("a/b", "main", kCommit));
  EXPECT_EQ(cache_.commit("a/b", "main"), kCommit);
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
    if (!entry.is_directory())
      found.insert(entry.path().lexically_relative(folder_.path()).string());
  }
  const std::string repository = "models--a--b/";
  EXPECT_EQ(found, (std::set<std::string>{"CACHEDIR.TAG", repository + "blobs/" + file.digest.hex,
                                          repository + "refs/main",
                                          repository + "snapshots/" + kCommit + "/m.gguf"}));
  // A link to something else is replaced.
  const auto pointer = cache_.snapshot("a/b", kCommit) / "m.gguf";
  std::filesystem::remove(pointer);
  std::filesystem::create_symlink("/etc/hostname", pointer);
  ASSERT_TRUE(cache_.link("a/b", kCommit, file));
  EXPECT_EQ(std::filesystem::file_size(pointer), 5u);
}

TEST_F(HuggingFaceCacheTest, ABlobLivesAsLongAsASnapshotHasIt) {
  const HubFile file = blob("m.gguf", "bytes", '1');
  ASSERT_TRUE(cache_.link("a/b", kCommit, file));
  ASSERT_TRUE(cache_.link("a/b", kOther, file));
  EXPECT_EQ(*cache_.remove(cache_.snapshot("a/b", kCommit) / "m.gguf"), 0u);
  EXPECT_TRUE(cache_.has_blob("a/b", file));
  EXPECT_FALSE(std::filesystem::exists(cache_.snapshot("a/b", kCommit)));
  EXPECT_EQ(*cache_.remove(cache_.snapshot("a/b", kOther) / "m.gguf"), 5u);
  EXPECT_FALSE(cache_.has_blob("a/b", file));
  EXPECT_FALSE(cache_.remove("/etc/hostname")) << "not of this cache";
}

TEST_F(HuggingFaceCacheTest, ModelsThatAreWholeAreFound) {
  HubOptions options;
  options.home = folder_.path() / "home";
  options.hugging_face_cache = folder_.path();
  EXPECT_TRUE(models_in_hugging_face_cache(options).empty());
  ASSERT_TRUE(cache_.link("a/b", kCommit, blob("m-Q8_0.gguf", "bytes", '1')));
  ASSERT_TRUE(cache_.link("a/b", kCommit, blob("n-Q4_0-00001-of-00002.gguf", "half", '2')));
  ASSERT_TRUE(cache_.link("a/b", kCommit, blob("config.json", "{}", '3')));
  ASSERT_TRUE(cache_.link("a/b", kCommit, blob("model-00001-of-00002.safetensors", "x", '4')));
  ASSERT_TRUE(cache_.link(
      "a/b", kCommit,
      blob(
          "model.safetensors.index.json",
          R"({"weight_map": {"t": "model-00001-of-00002.safetensors", "u": "model-00002-of-00002.safetensors"}})",
          '5')));
  ASSERT_TRUE(cache_.set_ref("a/b", "main", kCommit));
  const auto models = models_in_hugging_face_cache(options);
  ASSERT_EQ(models.size(), 1u) << "a split GGUF and a folder that lack parts are not whole";
  EXPECT_EQ(models[0].name, "hf:a/b:q8_0");
  const auto found = find_on_disk("hf:a/b", options);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->path, cache_.snapshot("a/b", kCommit) / "m-Q8_0.gguf");
  EXPECT_FALSE(*find_on_disk("hf:a/b:q4_0", options));
  EXPECT_FALSE(*find_on_disk("hf:a/c", options));
}

TEST(ModelScopeCacheTest, BothLayouts) {
  TempFolder folder;
  const ModelScopeCache cache(folder.path());
  const HubFile file{.path = "m.gguf", .bytes = 3};
  EXPECT_FALSE(cache.find("a/b.c", "master", file));
  folder.write("hub/models/a/b___c/m.gguf", "old");
  EXPECT_EQ(cache.find("a/b.c", "master", file), folder.path() / "hub/models/a/b___c/m.gguf");
  folder.write("models/a--b.c/snapshots/master/m.gguf", "new");
  EXPECT_EQ(cache.find("a/b.c", "master", file),
            folder.path() / "models/a--b.c/snapshots/master/m.gguf");
  folder.write("models/a--b.c/snapshots/master/m.gguf", "longer");
  EXPECT_EQ(cache.find("a/b.c", "master", file), folder.path() / "hub/models/a/b___c/m.gguf")
      << "by size";
}

TEST(PulledModelsTest, SavedFoundForgotten) {
  TempFolder folder;
  const PulledModels models(folder.path());
  EXPECT_TRUE(models.list()->empty());
  const auto file = folder.write("m.gguf", "12345");
  PulledModel model{.name = "deepseek-r1:1.5b:q8_0",
                    .source = "hf:a/b",
                    .revision = kCommit,
                    .format = "q8_0",
                    .licence = "MIT",
                    .path = file,
                    .files = {{file, 5, true}},
                    .temperature = 0.6,
                    .top_p = {},
                    .pulled_unix_seconds = 7};
  ASSERT_TRUE(models.save(model));
  for (const char* name : {"deepseek-r1:1.5b:q8_0", "DeepSeek-R1:1.5B"}) {
    const auto found = models.find(name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->path, file);
    EXPECT_EQ(found->temperature, 0.6);
    EXPECT_TRUE(found->files[0].ours && found->complete());
  }
  EXPECT_FALSE(models.find("deepseek-r1"));
  model.name = "deepseek-r1:1.5b:q4_0", model.format = "q4_0", model.pulled_unix_seconds = 8;
  ASSERT_TRUE(models.save(model));
  EXPECT_EQ(models.find("deepseek-r1:1.5b")->format, "q4_0") << "the latest";
  std::filesystem::resize_file(file, 4);
  EXPECT_FALSE(models.find("deepseek-r1:1.5b")->complete());
  folder.write("pulled/broken.json", "{");
  folder.write(
      "pulled/evil.json",
      R"({"version":1,"name":"../x","source":"","revision":"","format":"","licence":"","path":"/","pulled":1,"files":[]})");
  EXPECT_EQ(models.list()->size(), 2u);
  ASSERT_TRUE(models.forget(model));
  EXPECT_EQ(models.list()->size(), 1u);
  model.name = "../../x";
  EXPECT_FALSE(models.save(model));
}

TEST(RemoveModelTest, OnlyWhatIsOursAndNobodyElses) {
  TempFolder folder;
  HubOptions options;
  options.home = folder.path() / "home";
  options.hugging_face_cache = folder.path() / "hf";
  const auto ours = folder.write("home/hub/ms--a--b/master/ours.gguf", "123"),
             shared = folder.write("home/hub/ms--a--b/master/shared.gguf", "1234"),
             theirs = folder.write("theirs.gguf", "12345");
  const PulledModels models(options.home);
  const PulledModel one{.name = "one:q8_0",
                        .format = "q8_0",
                        .path = ours,
                        .files = {{ours, 3, true}, {shared, 4, true}, {theirs, 5, false}}};
  ASSERT_TRUE(models.save(one));
  ASSERT_TRUE(models.save(
      {.name = "two:q8_0", .format = "q8_0", .path = shared, .files = {{shared, 4, true}}}));
  const auto removal = remove_model(one, options);
  ASSERT_TRUE(removal) << removal.error().message;
  EXPECT_EQ(removal->bytes_freed, 3u);
  EXPECT_EQ(removal->notes.size(), 2u);
  EXPECT_FALSE(std::filesystem::exists(ours));
  EXPECT_TRUE(std::filesystem::exists(shared));
  EXPECT_TRUE(std::filesystem::exists(theirs));
  EXPECT_FALSE(models.find("one"));
}

TEST(RoomTest, IsCheckedWithAReserve) {
  EXPECT_TRUE(check_room(0, 0, "/x", "m"));
  EXPECT_TRUE(check_room(1000, 1000 + kDiskReserveBytes, "/x", "m"));
  const Status no = check_room(1001, 1000 + kDiskReserveBytes, "/x", "m");
  ASSERT_FALSE(no);
  EXPECT_NE(no.error().message.find("/x"), std::string::npos);
  EXPECT_TRUE(free_disk_bytes("/tmp/no/such/folder"));
}

TEST(DurableFileTest, WritersOfOneFileTakeTurns) {
  TempFolder folder;
  const auto path = folder.path() / "file", beside = folder.path() / "file.tmp";
  const std::string whole[] = {std::string(20000, 'a'), std::string(10000, 'b')};
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < 20; ++i) ASSERT_TRUE(write_durably(path, beside, whole[writer % 2]));
    });
  }
  std::thread reader([&] {
    for (int i = 0; i < 200; ++i) {
      std::ifstream file(path, std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      EXPECT_TRUE(!file.is_open() || text == whole[0] || text == whole[1]) << text.size();
    }
  });
  for (std::thread& thread : writers) thread.join();
  reader.join();
  EXPECT_FALSE(std::filesystem::exists(beside));
}

TEST(DurableFileTest, AnErrorSaysWhatToDoNext) {
  const std::string full = describe_write_error(ENOSPC, "/tmp/x", 5'000'000);
  for (const char* words : {"disk of /tmp is full", "5.00 MB more are needed", "are free",
                            "hadal rm", "same command again"})
    EXPECT_NE(full.find(words), std::string::npos) << full;
  for (const int error : {EROFS, EACCES, EPERM}) {
    const std::string text = describe_write_error(error, "/x");
    EXPECT_NE(text.find("HF_HUB_CACHE"), std::string::npos) << text;
    EXPECT_NE(text.find("type the command again"), std::string::npos) << text;
  }
}

TEST(FileDigestTest, KnownValues) {
  TempFolder folder;
  const auto file = folder.write("f", "abc");
  EXPECT_EQ(digest_of_file(file, DigestKind::kSha256)->hex,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  // `printf abc | git hash-object --stdin`
  EXPECT_EQ(digest_of_file(file, DigestKind::kGitSha1)->hex,
            "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
  EXPECT_EQ(digest_of_file(folder.write("e", ""), DigestKind::kGitSha1)->hex,
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_FALSE(digest_of_file(folder.path() / "none", DigestKind::kSha256));
  EXPECT_FALSE(digest_of_file(file, DigestKind::kSha256, [] { return true; }));
}

TEST(PypiSourceTest, WhatIsNoArchiveIsNamed) {
  TempFolder folder;
  const auto digest =
      join_zip_members({{folder.write("a.whl", "no zip"), "x"}}, folder.path() / "part");
  ASSERT_FALSE(digest);
  EXPECT_NE(digest.error().message.find("a.whl"), std::string::npos);
}

TEST(SpeedMeterTest, FollowsAChangeWithinItsWindow) {
  SpeedMeter meter;
  EXPECT_FALSE(meter.seconds_for(100));
  uint64_t bytes = 0;
  double now = 0;
  for (; now < 20; now += 0.25) meter.note(bytes += 250, now);
  EXPECT_NEAR(meter.bytes_per_s(), 1000, 20);
  EXPECT_NEAR(*meter.seconds_for(5000), 5, 0.2);
  for (; now < 40; now += 0.25) meter.note(bytes, now);
  EXPECT_EQ(meter.bytes_per_s(), 0) << "nothing came for longer than the window";
}

TEST(SpeedMeterTest, Durations) {
  EXPECT_EQ(format_duration(0.2), "1 s");
  EXPECT_EQ(format_duration(75), "75 s");
  EXPECT_EQ(format_duration(301), "6 min");
  EXPECT_EQ(format_duration(2 * 3600 + 600), "2 h 10 min");
  EXPECT_EQ(format_duration(4 * 24 * 3600), "4 days");
  EXPECT_EQ(format_duration(1e300), "a very long time");
}

}  // namespace
}  // namespace hadal
