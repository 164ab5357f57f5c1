// What the access log writes, and what it does where it cannot.
#include "server/metrics/access_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <mutex>
#include <vector>

#include "base/json.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class AccessLogTest : public testing::Test {
 protected:
  AccessLogTest() {
    std::string pattern = (fs::temp_directory_path() / "hadal-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~AccessLogTest() override { fs::remove_all(folder_); }

  std::shared_ptr<AccessLog> open(const fs::path& path, size_t waiting_bytes_max = 1 << 20) {
    auto log = AccessLog::open({.path = path,
                                .on_trouble =
                                    [this](const std::string& what) {
                                      std::lock_guard lock(mutex_);
                                      troubles_.push_back(what);
                                    },
                                .waiting_bytes_max = waiting_bytes_max});
    EXPECT_TRUE(log) << log.error().message;
    return *log;
  }
  static void tell(const std::shared_ptr<AccessLog>& log, const std::string& id) {
    const auto record = std::make_shared<RequestRecord>(log);
    record->id = id;
  }
  std::vector<std::string> troubles() {
    std::lock_guard lock(mutex_);
    return troubles_;
  }
  static std::vector<std::string> ids(const fs::path& path) {
    std::vector<std::string> found;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const auto entry = nlohmann::json::parse(line, nullptr, false);
      found.push_back(entry.is_object() ? entry["id"].get<std::string>() : "torn");
    }
    return found;
  }
  // Until it holds, for at most ten seconds.
  template <typename Holds>
  static void wait(Holds holds) {
    for (int i = 0; i < 1000 && !holds(); ++i) usleep(10'000);
    EXPECT_TRUE(holds());
  }

  fs::path folder_;
  std::mutex mutex_;
  std::vector<std::string> troubles_;
};

TEST_F(AccessLogTest, ALineIsJsonWithoutControls) {
  auto log = open(folder_ / "log");
  RequestRecord record(log);
  record.time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'500));
  record.id = "req_1";
  record.client = "127.0.0.1";
  record.key = "laptop";
  record.method = "GET";
  record.path = "/\n\x1b[31m\xff\"" + std::string(1000, 'a');
  record.status = 404;
  record.complete = true;
  record.seconds = 0.01234;
  record.prompt_tokens = 3;
  record.answer_tokens = 4;
  const std::string line = access_log_line(record);
  EXPECT_TRUE(std::ranges::all_of(line, [](char c) { return c >= 0x20 && c < 0x7f; })) << line;
  EXPECT_LT(line.size(), 600u);
  EXPECT_TRUE(line.starts_with(R"({"time":"1970-01-01T00:00:01.500Z","id":"req_1",)")) << line;
  EXPECT_TRUE(line.ends_with(
      R"("status":404,"complete":true,"prompt_tokens":3,"answer_tokens":4,"ms":12.3})"))
      << line;
}

TEST_F(AccessLogTest, IsWrittenWhenTheLastOneLetsGo) {
  auto log = open(folder_ / "log");
  log->start();
  auto record = std::make_shared<RequestRecord>(log);
  record->id = "first";
  const auto other = std::make_shared<std::shared_ptr<RequestRecord>>(record);
  record.reset();
  tell(log, "second");
  wait([&] { return ids(folder_ / "log").size() == 1; });
  other->reset();
  wait([&] { return ids(folder_ / "log") == std::vector<std::string>{"second", "first"}; });
}

TEST_F(AccessLogTest, EndsWithAllThatWasTold) {
  auto log = open(folder_ / "log");
  tell(log, "before the start");
  log->start();
  for (int i = 0; i < 1000; ++i) tell(log, std::to_string(i));
  log.reset();
  EXPECT_EQ(ids(folder_ / "log").size(), 1001u);
}

TEST_F(AccessLogTest, IsOpenedAgainWhereItWasMovedAway) {
  auto log = open(folder_ / "log");
  log->start();
  tell(log, "old");
  wait([&] { return ids(folder_ / "log").size() == 1; });
  fs::rename(folder_ / "log", folder_ / "log.1");
  log->reopen();
  wait([&] { return fs::exists(folder_ / "log"); });
  tell(log, "new");
  wait([&] { return ids(folder_ / "log") == std::vector<std::string>{"new"}; });
  EXPECT_EQ(ids(folder_ / "log.1"), std::vector<std::string>{"old"});
  // Where that cannot be, the old file goes on.
  fs::rename(folder_ / "log", folder_ / "log.2");
  fs::create_directory(folder_ / "log");
  log->reopen();
  wait([&] { return troubles().size() == 1; });
  tell(log, "kept");
  wait([&] { return ids(folder_ / "log.2") == std::vector<std::string>{"new", "kept"}; });
}

TEST_F(AccessLogTest, AFullDiskLosesLinesAndSaysSoOnce) {
  auto log = open("/dev/full");
  log->start();
  for (int i = 0; i < 10; ++i) {
    tell(log, "lost");
    wait([&] { return log->lost() == static_cast<uint64_t>(i + 1); });
  }
  ASSERT_EQ(troubles().size(), 1u);
  EXPECT_NE(troubles()[0].find("No space left"), std::string::npos) << troubles()[0];
}

TEST_F(AccessLogTest, GoesOnWhenThereIsRoomAgain) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit usual{};
  getrlimit(RLIMIT_FSIZE, &usual);
  const rlimit small{.rlim_cur = 500, .rlim_max = usual.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  auto log = open(folder_ / "log");
  log->start();
  uint64_t told = 0;
  for (; log->lost() == 0 && told < 100; ++told) {
    tell(log, "before");
    usleep(2'000);
  }
  wait([&] { return troubles().size() == 1; });
  setrlimit(RLIMIT_FSIZE, &usual);
  tell(log, "after");
  wait([&] { return troubles().size() == 2; });
  const auto found = ids(folder_ / "log");
  EXPECT_EQ(found.back(), "after");  // on a line of its own, behind the one that was cut off
  EXPECT_EQ(std::ranges::count(found, "torn"), 1);
  EXPECT_EQ(static_cast<uint64_t>(std::ranges::count(found, "before")) + log->lost(), told);
}

TEST_F(AccessLogTest, AReaderThatStallsHoldsUpNobody) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const fs::path stalled = "/proc/self/fd/" + std::to_string(ends[1]);
  auto log = open(stalled, 4096);
  log->start();
  for (int i = 0; i < 2000; ++i) tell(log, "stalled");  // more than pipe and buffer hold
  wait([&] { return log->lost() > 0; });
  log.reset();
  close(ends[0]);
  close(ends[1]);
}

TEST_F(AccessLogTest, WhatCannotBeOpenedIsNamed) {
  const auto log = AccessLog::open({.path = folder_ / "none/log"});
  ASSERT_FALSE(log);
  EXPECT_NE(log.error().message.find("none/log"), std::string::npos);
}

TEST_F(AccessLogTest, KnowsAFolderOfItsOwn) {
  EXPECT_TRUE(has_folder_of_its_own(folder_ / "log"));
  std::ofstream(folder_ / "log") << "";
  std::ofstream(folder_ / "log.1.gz") << "";
  EXPECT_TRUE(has_folder_of_its_own(folder_ / "log"));
  std::ofstream(folder_ / "other") << "";
  EXPECT_FALSE(has_folder_of_its_own(folder_ / "log"));
  EXPECT_FALSE(has_folder_of_its_own(folder_ / "none/log"));
}

}  // namespace
}  // namespace hadal
