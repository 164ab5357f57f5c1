// What the sandbox takes away, tried in children that enter it.
#include "server/sandbox/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace hadal {
namespace {

namespace fs = std::filesystem;

class SandboxTest : public testing::Test {
 protected:
  SandboxTest() {
    std::string pattern = (fs::temp_directory_path() / "hadal-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    fs::create_directories(folder_ / "models");
    fs::create_directories(folder_ / "private");
    fs::create_directories(folder_ / "log");
    std::ofstream(folder_ / "models/model.gguf") << "m";
    std::ofstream(folder_ / "private/secret") << "s";
  }
  ~SandboxTest() override { fs::remove_all(folder_); }

  // The exit status of a child that entered the sandbox and did this.
  template <typename Work>
  int in_sandbox(Work work) {
    const pid_t child = fork();
    if (child == 0) {
      const Sandbox sandbox = enter_sandbox(
          {.readable = {folder_ / "models", folder_ / "none"}, .writable = {folder_ / "log"}});
      _exit(work(sandbox));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  bool has_files() {
    return in_sandbox([](const Sandbox& sandbox) { return sandbox.files ? 1 : 0; }) == 1;
  }
  bool has_system_calls() {
    return in_sandbox([](const Sandbox& sandbox) { return sandbox.system_calls ? 1 : 0; }) == 1;
  }
  fs::path folder_;
};

int error_of_open(const fs::path& path, int flags) {
  const int file = ::open(path.c_str(), flags, 0600);
  if (file < 0) return errno;
  close(file);
  return 0;
}

TEST_F(SandboxTest, SaysWhatIsMissing) {
  EXPECT_EQ(in_sandbox([](const Sandbox& sandbox) {
              return (sandbox.files && sandbox.system_calls) == sandbox.missing.empty() ? 0 : 1;
            }),
            0);
}

TEST_F(SandboxTest, FilesAreReadAndWrittenWhereAllowed) {
  if (!has_files()) GTEST_SKIP() << "this kernel has no Landlock";
  const auto error = [this](const fs::path& path, int flags) {
    return in_sandbox([&](const Sandbox&) { return error_of_open(path, flags); });
  };
  EXPECT_EQ(error(folder_ / "models/model.gguf", O_RDONLY), 0);
  EXPECT_EQ(error("/proc/self/status", O_RDONLY), 0);
  EXPECT_EQ(error(folder_ / "private/secret", O_RDONLY), EACCES);
  EXPECT_EQ(error(folder_ / "models/../private/secret", O_RDONLY), EACCES);
  EXPECT_EQ(error(folder_ / "models/model.gguf", O_RDWR), EACCES);
  EXPECT_EQ(error(folder_ / "models/new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(error("/tmp/hadal-new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(error(folder_ / "log/new", O_WRONLY | O_CREAT | O_APPEND), 0);
  EXPECT_EQ(error(folder_ / "log/new", O_RDONLY), EACCES);
  EXPECT_EQ(in_sandbox([this](const Sandbox&) {
              return unlink((folder_ / "models/model.gguf").c_str()) == 0 ? 0 : errno;
            }),
            EACCES);
}

TEST_F(SandboxTest, ThreadsAreInIt) {
  if (!has_files()) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_EQ(
      in_sandbox([this](const Sandbox&) {
        int error = 0;
        std::thread([&] { error = error_of_open(folder_ / "private/secret", O_RDONLY); }).join();
        return error;
      }),
      EACCES);
}

TEST_F(SandboxTest, NoProgramNoProcessNoCallOut) {
  if (!has_system_calls()) GTEST_SKIP() << "no seccomp here";
  EXPECT_EQ(in_sandbox([](const Sandbox&) {
              execl("/bin/true", "true", nullptr);
              return errno;
            }),
            EPERM);
  EXPECT_EQ(in_sandbox([](const Sandbox&) {
              const pid_t child = fork();
              if (child == 0) _exit(0);
              return child < 0 ? errno : 0;
            }),
            EPERM);
  EXPECT_EQ(in_sandbox([](const Sandbox&) {
              return ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? 0 : errno;
            }),
            EPERM);
  EXPECT_EQ(in_sandbox([](const Sandbox&) {
              const int made = socket(AF_INET, SOCK_STREAM, 0);
              sockaddr_in address{};
              address.sin_family = AF_INET;
              address.sin_port = htons(9);
              address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
              return connect(made, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0
                         ? 0
                         : errno;
            }),
            EPERM);
  EXPECT_EQ(in_sandbox([](const Sandbox&) {
              bool ran = false;
              std::thread([&] { ran = true; }).join();
              return ran ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace hadal
