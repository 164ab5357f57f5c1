// A file on its way: its bytes at their places, and beside it a record of which of them are on the
// disk. A byte is recorded only after it was flushed, so whatever ends the process or the machine,
// what the record says is there. The record is replaced as a whole; half of one is never read.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "base/result.h"
#include "hub/names/hub_names.h"
#include "hub/network/byte_ranges.h"

namespace hadal {

// What identifies the bytes: a record of others is not gone on with. `validator` stands in where no
// digest is known (an ETag, say).
struct PartIdentity {
  uint64_t bytes = 0;
  Digest digest;
  std::string validator;
};

// nullopt: no record, or one of other bytes, or a damaged one.
std::optional<ByteRanges> read_transfer_record(const std::filesystem::path& record,
                                               const PartIdentity& identity);
// With what a killed process left beside it; none is no error.
Status remove_transfer_record(const std::filesystem::path& record);
Status write_transfer_record(const std::filesystem::path& record, const PartIdentity& identity,
                             const ByteRanges& done);
inline constexpr size_t kRecordBytesMax = 1 << 20;

class PartFile {
 public:
  // Goes on with the part and its record if they fit `identity`; else begins anew. The folder must
  // exist. A thread of its own flushes and records every `record_every`.
  static Result<std::unique_ptr<PartFile>> open(std::filesystem::path part,
                                                std::filesystem::path record, PartIdentity identity,
                                                std::chrono::milliseconds record_every);
  ~PartFile();  // stops the thread; flushes and records what was noted
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  int descriptor() const { return file_; }
  const ByteRanges& found() const { return found_; }  // at open
  Status write(uint64_t at, std::span<const std::byte> bytes);
  void note(const ByteRanges& done);  // what is written by now
  Status recording() const;           // an error of the thread, if it had one
  Status finish();                    // everything is written: flushes; the record stays
  void discard();  // wrong bytes: part and record are deleted; for nothing else after

 private:
  PartFile(std::filesystem::path part, std::filesystem::path record, PartIdentity identity)
      : part_(std::move(part)), record_(std::move(record)), identity_(std::move(identity)) {}
  void keep(std::chrono::milliseconds every);
  uint64_t missing_bytes() const;
  Status flush_and_record(const ByteRanges& done);

  std::filesystem::path part_, record_;
  PartIdentity identity_;
  int file_ = -1;
  ByteRanges found_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ByteRanges noted_, recorded_;
  bool quit_ = false, discarded_ = false;
  Status error_;
  std::thread thread_;
};

}  // namespace hadal
