#include "hub/transfer/part_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

#include "base/sizes.h"
#include "file/text_file.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRecordHead = "hadal transfer 1";
constexpr std::string_view kRecordEnd = "end";

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

void flush_folder(const fs::path& folder) {
  const File file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() >= 0) (void)fsync(file.get());  // some file systems know no flush of folders
}

Status write_all(int file, std::span<const std::byte> bytes, uint64_t at, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("{}", describe_write_error(errno, path));
    at += static_cast<uint64_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

std::string identity_lines(const PartIdentity& identity) {
  return fmt::format("bytes {}\ndigest {} {}\nvalidator {}\n", identity.bytes,
                     static_cast<int>(identity.digest.kind), identity.digest.hex,
                     identity.validator);
}

std::optional<uint64_t> take_number(std::string_view& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

// Writes `beside`, flushes it, moves it over `path`.
Status write_beside(const fs::path& path, const fs::path& beside, std::string_view text) {
  {
    const File file(
        ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (file.get() < 0) return fail("{}", describe_write_error(errno, beside));
    Status status = write_all(file.get(), std::as_bytes(std::span(text)), 0, beside);
    if (status && fsync(file.get()) != 0) status = fail("{}", describe_write_error(errno, beside));
    if (!status) {
      ::unlink(beside.c_str());
      return status;
    }
  }
  return move_durably(beside, path);
}

// Whoever holds the lock is a record's only writer: a name without the process's number, so that
// what a killed one left is found and removed.
fs::path record_beside(const fs::path& record) {
  return record.string() + ".tmp";
}

}  // namespace

std::string describe_write_error(int error, const fs::path& path) {
  const std::string name = path.string();
  switch (error) {
    case ENOSPC:
      return fmt::format(
          "the disk is full ({}). Free some space and type the same command again: it goes on "
          "where it "
          "stopped",
          name);
    case EDQUOT:
      return fmt::format(
          "your disk quota is used up ({}). Free some space and type the same command again", name);
    case EFBIG:
      return fmt::format("{} would be larger than this file system or `ulimit -f` allows", name);
    case EROFS:
      return fmt::format(
          "{} cannot be written: it lies on a read-only file system. HADAL_HOME and HF_HUB_CACHE "
          "say where "
          "models are kept",
          name);
    case EACCES:
    case EPERM:
      return fmt::format(
          "{} cannot be written: {}. HADAL_HOME and HF_HUB_CACHE say where models are kept", name,
          std::strerror(error));
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

Status move_durably(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    return fail("{}", describe_write_error(errno, to));
  flush_folder(to.parent_path());
  return {};
}

void forget_cached_pages(const fs::path& path) {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() >= 0) posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);  // advice
}

Status write_durably(const fs::path& path, std::string_view text) {
  // The process's number keeps two writers apart; the last one wins as a whole.
  return write_beside(path, fmt::format("{}.{}.tmp", path.string(), getpid()), text);
}

Status remove_transfer_record(const fs::path& record) {
  for (const fs::path& path : {record_beside(record), record}) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
      return fail("{}", describe_write_error(errno, path));
  }
  return {};
}

std::optional<ByteRanges> read_transfer_record(const fs::path& record,
                                               const PartIdentity& identity) {
  const auto text = read_text_file(record, kRecordBytesMax);
  if (!text || !*text) return std::nullopt;
  std::string_view rest = **text;
  const std::string head = fmt::format("{}\n{}", kRecordHead, identity_lines(identity));
  if (!rest.starts_with(head)) return std::nullopt;
  rest.remove_prefix(head.size());
  ByteRanges done;
  while (!rest.empty() && rest != fmt::format("{}\n", kRecordEnd)) {
    const auto begin = take_number(rest);
    if (!begin || !rest.starts_with('-')) return std::nullopt;
    rest.remove_prefix(1);
    const auto end = take_number(rest);
    if (!end || *begin >= *end || *end > identity.bytes || !rest.starts_with('\n'))
      return std::nullopt;
    rest.remove_prefix(1);
    done.add({*begin, *end});
  }
  if (rest.empty()) return std::nullopt;  // its end is missing
  return done;
}

Status write_transfer_record(const fs::path& record, const PartIdentity& identity,
                             const ByteRanges& done) {
  std::string text = fmt::format("{}\n{}", kRecordHead, identity_lines(identity));
  for (const ByteRange& range : done.ranges())
    text += fmt::format("{}-{}\n", range.begin, range.end);
  text += fmt::format("{}\n", kRecordEnd);
  if (text.size() > kRecordBytesMax)
    return {};  // more pieces than any transfer has: not worth recording
  return write_beside(record, record_beside(record), text);
}

Result<std::unique_ptr<PartFile>> PartFile::open(fs::path part, fs::path record,
                                                 PartIdentity identity,
                                                 std::chrono::milliseconds record_every) {
  std::unique_ptr<PartFile> file(
      new PartFile(std::move(part), std::move(record), std::move(identity)));
  // Not through a link: a part is hadal's own file.
  file->file_ = ::open(file->part_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file->file_ < 0) return fail("{}", describe_write_error(errno, file->part_));
  struct stat status {};
  if (fstat(file->file_, &status) != 0 || !S_ISREG(status.st_mode)) {
    return fail("{} is not a regular file", file->part_.string());
  }
  const uint64_t bytes = file->identity_.bytes;
  auto done = read_transfer_record(file->record_, file->identity_);
  if (done && static_cast<uint64_t>(status.st_size) == bytes) {
    file->found_ = file->noted_ = file->recorded_ = std::move(*done);
  } else {
    // The old bytes go before a record of the new ones can exist.
    HADAL_TRY_VOID(remove_transfer_record(file->record_));
    if (ftruncate(file->file_, 0) != 0 || ftruncate(file->file_, static_cast<off_t>(bytes)) != 0) {
      return fail("{}", describe_write_error(errno, file->part_));
    }
  }
  file->thread_ = std::thread([self = file.get(), record_every] { self->keep(record_every); });
  return file;
}

PartFile::~PartFile() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      quit_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  if (file_ >= 0 && !discarded_ && noted_.bytes() > recorded_.bytes())
    (void)flush_and_record(noted_);
  if (file_ >= 0) ::close(file_);
}

Status PartFile::write(uint64_t at, std::span<const std::byte> bytes) {
  return write_all(file_, bytes, at, part_);
}

void PartFile::note(const ByteRanges& done) {
  const std::lock_guard lock(mutex_);
  if (done.bytes() > noted_.bytes()) noted_ = done;
}

Status PartFile::recording() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

Status PartFile::finish() {
  if (fsync(file_) != 0) return fail("{}", describe_write_error(errno, part_));
  return {};
}

void PartFile::discard() {
  const std::lock_guard lock(mutex_);
  discarded_ = true;
  static_cast<void>(remove_transfer_record(record_));  // a record without its part counts nothing
  ::unlink(part_.c_str());
}

Status PartFile::flush_and_record(const ByteRanges& done) {
  if (fdatasync(file_) != 0) return fail("{}", describe_write_error(errno, part_));
  return write_transfer_record(record_, identity_, done);
}

void PartFile::keep(std::chrono::milliseconds every) {
  std::unique_lock lock(mutex_);
  while (!quit_) {
    changed_.wait_for(lock, every, [&] { return quit_; });
    if (quit_ || discarded_ || noted_.bytes() == recorded_.bytes()) continue;
    const ByteRanges done = noted_;
    lock.unlock();
    Status status = flush_and_record(done);
    lock.lock();
    if (status) {
      recorded_ = done;
    } else {
      error_ = std::move(status);
      return;
    }
  }
}

}  // namespace hadal
