#include "server/sandbox/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/file_descriptor.h"
#include "server/sandbox/system_calls.h"

namespace hadal {
namespace {

constexpr uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr uint64_t kRead = kReadFile | LANDLOCK_ACCESS_FS_READ_DIR;
// Of the first version of the kernel's interface: all that changes a file system, and exec.
constexpr uint64_t kFirstAbi =
    kRead | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
// Later ones, whatever the headers know: moving between folders, cutting files.
constexpr uint64_t kRefer = 1ull << 13, kTruncate = 1ull << 14;

constexpr const char* kAlwaysReadable[] = {"/usr",  "/lib", "/lib64", "/etc",
                                           "/proc", "/sys", "/dev"};

long create_ruleset(const landlock_ruleset_attr* attributes, size_t bytes, uint32_t flags) {
  return syscall(SYS_landlock_create_ruleset, attributes, bytes, flags);
}

// Of files, no folders, that may be made and written.
constexpr uint64_t kWrite = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG;

// A path that is not there allows nothing, which is no loss.
void allow(int ruleset, const std::filesystem::path& path, uint64_t of_file, uint64_t of_folder) {
  const FileDescriptor file(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat status {};
  if (!file.open() || fstat(file.number(), &status) != 0) return;
  landlock_path_beneath_attr rule{};
  rule.allowed_access = S_ISDIR(status.st_mode) ? of_folder : of_file;
  rule.parent_fd = file.number();
  syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

// "": done; else why not.
std::string confine_files(const SandboxOptions& options) {
  const long abi = create_ruleset(nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) return "this kernel has no Landlock";
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = kFirstAbi;
  if (abi >= 2) attributes.handled_access_fs |= kRefer;
  if (abi >= 3) attributes.handled_access_fs |= kTruncate;
  const FileDescriptor ruleset(
      static_cast<int>(create_ruleset(&attributes, sizeof(attributes.handled_access_fs), 0)));
  if (!ruleset.open()) return "Landlock took no rules: " + std::string(std::strerror(errno));
  for (const char* path : kAlwaysReadable) allow(ruleset.number(), path, kReadFile, kRead);
  for (const auto& path : options.readable) allow(ruleset.number(), path, kReadFile, kRead);
  for (const auto& path : options.writable) allow(ruleset.number(), path, 0, kWrite);
  if (syscall(SYS_landlock_restrict_self, ruleset.number(), 0) != 0) {
    return "Landlock does not hold: " + std::string(std::strerror(errno));
  }
  return {};
}

}  // namespace

Sandbox enter_sandbox(const SandboxOptions& options) {
  Sandbox sandbox;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    sandbox.missing = "privileges cannot be given up: " + std::string(std::strerror(errno));
    return sandbox;
  }
  sandbox.missing = confine_files(options);
  sandbox.files = sandbox.missing.empty();
  const std::string problem = refuse_system_calls();
  sandbox.system_calls = problem.empty();
  if (!problem.empty()) sandbox.missing += (sandbox.missing.empty() ? "" : "; ") + problem;
  return sandbox;
}

}  // namespace hadal
