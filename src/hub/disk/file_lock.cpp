#include "hub/disk/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "hub/transfer/part_file.h"

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
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) return fail("{}", describe_write_error(errno, path));
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
      if (is_the_file(file, path)) return FileLock(file);
    } else if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP) {
      return FileLock(
          file);  // a file system without locks: two pulls then cost twice the bytes, nothing else
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
      const int error = errno;
      ::close(file);
      return fail("{}", describe_write_error(error, path));
    } else if (!waiting()) {
      ::close(file);
      return fail("stopped");
    } else {
      std::this_thread::sleep_for(kPoll);
    }
    ::close(file);
  }
}

FileLock::~FileLock() {
  if (file_ >= 0) ::close(file_);  // lets go of the lock
}

FileLock::FileLock(FileLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

}  // namespace hadal
