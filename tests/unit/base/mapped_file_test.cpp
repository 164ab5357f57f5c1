#include "base/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/temp_folder.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

uint64_t sum(std::span<const std::byte> bytes) {
  uint64_t total = 0;
  for (const std::byte byte : bytes) total += static_cast<uint64_t>(byte);
  return total;
}

std::string error_of(const fs::path& path) {
  auto file = MappedFile::open(path);
  return file ? "" : file.error().message;
}

TEST(MappedFile, ShowsTheBytesOfTheFile) {
  const TempFolder folder;
  const fs::path path = folder.write("model", "some bytes");
  auto file = MappedFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  const auto bytes = (*file)->bytes();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "some bytes");
  EXPECT_EQ((*file)->path(), path);
  EXPECT_FALSE((*file)->damaged());
}

TEST(MappedFile, ErrorsNameThePathAndTheCause) {
  const TempFolder folder;
  const auto expect = [&](const fs::path& path, std::string_view cause) {
    const std::string error = error_of(path);
    EXPECT_NE(error.find(path.string()), std::string::npos) << error;
    EXPECT_NE(error.find(cause), std::string::npos) << error;
  };
  expect(folder.path() / "missing", "no such file");
  expect(folder.write("file", "x") / "below", "no such file");
  expect(folder.path(), "is a folder");
  expect(folder.write("empty", ""), "is empty");
  const fs::path pipe = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect(pipe, "pipe");  // and does not wait for a writer
  expect("/dev/zero", "not a regular file");
  const fs::path loop = folder.path() / "loop";
  fs::create_symlink(loop, loop);
  expect(loop, "cannot be opened");
}

TEST(MappedFile, SaysWhenThereIsNoAddressSpace) {
  const TempFolder folder;
  const fs::path path = folder.write("large", "x");
  if (truncate(path.c_str(), off_t{8} << 40) != 0)
    GTEST_SKIP() << "no sparse files of 8 TiB on this disk";
  std::vector<std::unique_ptr<MappedFile>> mappings;  // a process has 128 TiB
  for (int i = 0; i < 16; ++i) {
    auto mapping = MappedFile::open(path);
    if (!mapping) {
      EXPECT_NE(mapping.error().message.find("no address space to map its 8.80 TB"),
                std::string::npos)
          << mapping.error().message;
      return;
    }
    mappings.push_back(std::move(*mapping));
  }
  FAIL() << "128 TiB were mapped";
}

TEST(MappedFile, AFileThatShrinksReadsAsZerosAndIsDamaged) {
  const TempFolder folder;
  constexpr size_t kBytes = 1 << 20;
  const std::string ones(kBytes, '\1');
  auto cut = MappedFile::open(folder.write("cut", ones));
  auto whole = MappedFile::open(folder.write("whole", ones));
  ASSERT_TRUE(cut && whole);
  ASSERT_EQ(truncate((*cut)->path().c_str(), 3 * 4096 + 5), 0);

  EXPECT_EQ(sum((*cut)->bytes()),
            3u * 4096 + 5);  // the rest of the last page is zeros by the kernel's hand
  EXPECT_TRUE((*cut)->damaged());
  EXPECT_TRUE(MappedFile::any_damaged());
  EXPECT_EQ(sum((*whole)->bytes()), kBytes);
  EXPECT_FALSE((*whole)->damaged());

  const std::string path = (*cut)->path().string();
  EXPECT_NE(MappedFile::damage_report().find(path), std::string::npos);
  EXPECT_EQ(MappedFile::damage_report().find((*whole)->path().string()), std::string::npos);
  cut->reset();
  EXPECT_NE(MappedFile::damage_report().find(path), std::string::npos)
      << "closing the file does not undo what was read";
  auto next = MappedFile::open(folder.write("next", ones));  // takes the place of the closed one
  ASSERT_TRUE(next);
  EXPECT_FALSE((*next)->damaged());
}

TEST(MappedFile, AFileCutUnderSeveralReaders) {
  const TempFolder folder;
  constexpr size_t kBytes = 8 << 20;
  auto file = MappedFile::open(folder.write("model", std::string(kBytes, '\1')));
  ASSERT_TRUE(file);
  std::atomic<int> ready = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      uint64_t total = kBytes;
      ready.fetch_add(1);
      while (total == kBytes) total = sum((*file)->bytes());  // until one pass misses something
    });
  }
  while (ready.load() < 4) std::this_thread::yield();
  ASSERT_EQ(truncate((*file)->path().c_str(), 4096), 0);
  for (std::thread& reader : readers) reader.join();
  EXPECT_TRUE((*file)->damaged());
}

// A page that is lost and was never ours: made by mapping a file without MappedFile and cutting it.
void touch_a_foreign_lost_page(const TempFolder& folder) {
  const fs::path path = folder.write("foreign", std::string(8192, '\1'));
  const int descriptor = open(path.c_str(), O_RDONLY);
  const void* const foreign = mmap(nullptr, 8192, PROT_READ, MAP_SHARED, descriptor, 0);
  if (truncate(path.c_str(), 0) != 0) _exit(98);
  volatile char byte = static_cast<const volatile char*>(foreign)[0];
  (void)byte;
  _exit(99);  // the read should have ended the program
}

class MappedFileDeathTest : public ::testing::Test {
 protected:
  // Each death test runs in a fresh process, where the handler is not installed yet.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  TempFolder folder_;
};

TEST_F(MappedFileDeathTest, AForeignLostPageGoesToTheHandlerBefore) {
  const auto body = [&] {
    struct sigaction action {};
    action.sa_handler = [](int) { _exit(42); };
    sigaction(SIGBUS, &action, nullptr);
    auto file = MappedFile::open(folder_.write("model", "x"));
    touch_a_foreign_lost_page(folder_);
  };
  EXPECT_EXIT(body(), ::testing::ExitedWithCode(42), "");
}

TEST_F(MappedFileDeathTest, AForeignLostPageEndsTheProgramWhereNobodyWasBefore) {
  const auto body = [&] {
    signal(SIGBUS, SIG_DFL);
    auto file = MappedFile::open(folder_.write("model", "x"));
    touch_a_foreign_lost_page(folder_);
  };
  EXPECT_EXIT(body(), ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(MappedFileDeathTest, ASignalSentByAProcessStillEndsTheProgram) {
  const auto body = [&] {
    signal(SIGBUS, SIG_DFL);
    auto file = MappedFile::open(folder_.write("model", "x"));
    kill(getpid(), SIGBUS);
    _exit(99);
  };
  EXPECT_EXIT(body(), ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace hadal
