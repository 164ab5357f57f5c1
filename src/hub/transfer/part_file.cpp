#include "hub/transfer/part_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <vector>

#include "base/file_descriptor.h"
#include "file/text_file.h"
#include "hub/disk/durable_file.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRecordHead = "hadal transfer 1";
constexpr std::string_view kRecordEnd = "end";

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

// A full disk must not cost what was fetched since the last record: the next record's place is
// taken before it is needed (of so many bytes; nearly all records are shorter).
constexpr size_t kReserveBytes = 4096;

fs::path record_beside(const fs::path& record) {
  return record.string() + ".tmp";
}

void reserve_place_of_record(const fs::path& record) {
  const fs::path beside = record_beside(record);
  const FileDescriptor file(
      ::open(beside.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
  const std::vector<std::byte> zeros(kReserveBytes);
  if (file.open()) static_cast<void>(write_all(file.number(), zeros, 0, beside));
}

}  // namespace

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
  return write_durably(record, record_beside(record), text);
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
  reserve_place_of_record(file->record_);
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
  return write_all(file_, bytes, at, part_, missing_bytes());
}

void PartFile::note(const ByteRanges& done) {
  const std::lock_guard lock(mutex_);
  if (done.bytes() > noted_.bytes()) noted_ = done;
}

Status PartFile::recording() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

uint64_t PartFile::missing_bytes() const {
  const std::lock_guard lock(mutex_);
  return identity_.bytes - noted_.bytes();
}

Status PartFile::finish() {
  if (fsync(file_) != 0) return fail("{}", describe_write_error(errno, part_, missing_bytes()));
  return {};
}

void PartFile::discard() {
  const std::lock_guard lock(mutex_);
  discarded_ = true;
  static_cast<void>(remove_transfer_record(record_));  // a record without its part counts nothing
  ::unlink(part_.c_str());
}

Status PartFile::flush_and_record(const ByteRanges& done) {
  if (fdatasync(file_) != 0)
    return fail("{}", describe_write_error(errno, part_, identity_.bytes - done.bytes()));
  HADAL_TRY_VOID(write_transfer_record(record_, identity_, done));
  reserve_place_of_record(record_);
  return {};
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
