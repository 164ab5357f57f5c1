#include "hub/disk/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "hub/disk/durable_file.h"

namespace hadal {
namespace {

constexpr std::chrono::milliseconds kPoll{200};

// A holder may delete the file when it lets go: then this descriptor locks nothing that others see.
bool is_the_file(int file, const std::filesystem::path& path) {
  struct stat open {
  }, named{};
  return fstat(file, &open) == 0 && ::stat(path.c_str(), &named) == 0 &&
         open.st_ino == named.st_ino && open.st_dev == named.st_dev;
}

}  // namespace

Result<FileLock> FileLock::take(const std::filesystem::path& path,
                                const std::function<bool()>& waiting) {
  HADAL_TRY_VOID(make_folders(path.parent_path()));
  for (;;) {
    FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!file.open()) return fail("{}", describe_write_error(errno, path));
    if (flock(file.number(), LOCK_EX | LOCK_NB) == 0) {
      if (is_the_file(file.number(), path)) return FileLock(std::move(file));
    } else if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP) {
      // A file system without locks: two pulls then cost twice the bytes, nothing else.
      return FileLock(std::move(file));
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
      return fail("{}", describe_write_error(errno, path));
    } else if (!waiting()) {
      return fail("stopped");
    } else {
      std::this_thread::sleep_for(kPoll);
    }
  }
}

}  // namespace hadal
