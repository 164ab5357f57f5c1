#include "hub/disk/durable_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "base/file_descriptor.h"
#include "base/sizes.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

void flush_folder(const fs::path& folder) {
  const FileDescriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.open()) (void)fsync(file.number());  // some file systems know no flush of folders
}

std::string describe_full_disk(const fs::path& path, std::optional<uint64_t> bytes_missing) {
  const fs::path folder = path.parent_path();
  std::string figures;
  if (bytes_missing)
    figures = fmt::format(": {} more are needed there", format_bytes(*bytes_missing));
  if (const auto free_bytes = free_disk_bytes(folder)) {
    figures +=
        fmt::format("{} {} are free", bytes_missing ? " and" : ":", format_bytes(*free_bytes));
  }
  return fmt::format(
      "the disk of {} is full{}. Free some space (`hadal list` shows what your models take, `hadal "
      "rm NAME` removes one) and type the same command again: it goes on where it stopped. "
      "HF_HUB_CACHE and HADAL_HOME may name a larger disk",
      folder.string(), figures);
}

// The open file, locked, under its name still: another writer may have moved it meanwhile.
Result<FileDescriptor> open_alone(const fs::path& path) {
  for (;;) {
    FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!file.open()) return fail("{}", describe_write_error(errno, path));
    while (flock(file.number(), LOCK_EX) != 0 && errno == EINTR) {
    }  // where there are no locks, two writers at once are rare enough
    struct stat open {
    }, named{};
    if (fstat(file.number(), &open) != 0) return fail("{}", describe_write_error(errno, path));
    if (::stat(path.c_str(), &named) == 0 && open.st_ino == named.st_ino &&
        open.st_dev == named.st_dev)
      return file;
  }
}

}  // namespace

std::string describe_write_error(int error, const fs::path& path,
                                 std::optional<uint64_t> bytes_missing) {
  const std::string name = path.string();
  switch (error) {
    case ENOSPC:
      return describe_full_disk(path, bytes_missing);
    case EDQUOT:
      return fmt::format(
          "your disk quota is used up ({}). Free some space and type the same command again: it "
          "goes on where it stopped",
          name);
    case EFBIG:
      return fmt::format("{} would be larger than this file system or `ulimit -f` allows", name);
    case EROFS:
      return fmt::format(
          "{} cannot be written: it lies on a read-only file system. Set HF_HUB_CACHE and "
          "HADAL_HOME, which say where models are kept, to folders of yours and type the command "
          "again",
          name);
    case EACCES:
    case EPERM:
      return fmt::format(
          "{} cannot be written: {}. Set HF_HUB_CACHE and HADAL_HOME, which say where models are "
          "kept, to folders of yours and type the command again",
          name, std::strerror(error));
    default:
      return fmt::format("{} cannot be written: {}", name, std::strerror(error));
  }
}

Status make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail("{}", describe_write_error(error.value(), folder));
  return {};
}

Status write_all(int file, std::span<const std::byte> bytes, uint64_t at, const fs::path& path,
                 std::optional<uint64_t> bytes_missing) {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("{}", describe_write_error(errno, path, bytes_missing));
    at += static_cast<uint64_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Status move_durably(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    return fail("{}", describe_write_error(errno, to));
  flush_folder(to.parent_path());
  return {};
}

Status write_durably(const fs::path& path, const fs::path& beside, std::string_view text) {
  HADAL_TRY(const FileDescriptor file, open_alone(beside));
  // Over what is there, cut afterwards: blocks it has need not be asked of a full disk.
  HADAL_TRY_VOID(write_all(file.number(), std::as_bytes(std::span(text)), 0, beside));
  if (ftruncate(file.number(), static_cast<off_t>(text.size())) != 0 || fsync(file.number()) != 0)
    return fail("{}", describe_write_error(errno, beside));
  return move_durably(beside, path);
}

void forget_cached_pages(const fs::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.open()) posix_fadvise(file.number(), 0, 0, POSIX_FADV_DONTNEED);  // advice
}

Result<uint64_t> free_disk_bytes(const fs::path& folder) {
  fs::path place = folder;
  struct statvfs status {};
  while (statvfs(place.c_str(), &status) != 0) {
    if (errno != ENOENT || !place.has_relative_path())
      return fail("{}: cannot be examined: {}", place.string(), std::strerror(errno));
    place = place.parent_path();
  }
  return static_cast<uint64_t>(status.f_bavail) * status.f_frsize;
}

}  // namespace hadal
