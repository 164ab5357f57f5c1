#include "eval/npy_writer.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/check.h"

namespace hadal {

namespace {

static_assert(std::endian::native == std::endian::little, "the rows are written as they lie");

std::string header(uint64_t rows, uint64_t columns) {
  constexpr size_t kAlignment = 64, kPrefix = 10;  // magic, version, length
  std::string text =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  while ((kPrefix + text.size() + 1) % kAlignment != 0) text += ' ';
  text += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += '\x01';
  bytes += '\x00';
  bytes += static_cast<char>(text.size() & 0xff);
  bytes += static_cast<char>(text.size() >> 8);
  return bytes + text;
}

}  // namespace

NpyWriter::NpyWriter(std::filesystem::path path, std::FILE* file, uint64_t rows, uint64_t columns)
    : path_(std::move(path)), file_(file), rows_left_(rows), columns_(columns) {}

NpyWriter::~NpyWriter() {
  if (file_ == nullptr) return;
  file_.reset();
  std::error_code ignored;
  if (!in_place_) std::filesystem::remove(part(), ignored);
}

std::filesystem::path NpyWriter::part() const {
  if (in_place_) return path_;
  std::filesystem::path part = path_;
  part += ".part";
  return part;
}

Status NpyWriter::failed(int error) const {
  return fail("{}: {}", path_.string(), std::generic_category().message(error));
}

Result<NpyWriter> NpyWriter::create(std::filesystem::path path, uint64_t rows, uint64_t columns) {
  NpyWriter writer(std::move(path), nullptr, rows, columns);
  // A device or a pipe is written to; a rename would put a file in its place.
  std::error_code ignored;
  const auto status = std::filesystem::status(writer.path_, ignored);
  writer.in_place_ = std::filesystem::exists(status) && !std::filesystem::is_regular_file(status);
  writer.file_.reset(std::fopen(writer.part().c_str(), "wb"));
  if (writer.file_ == nullptr) return forward_error(writer.failed(errno));
  const std::string bytes = header(rows, columns);
  if (std::fwrite(bytes.data(), 1, bytes.size(), writer.file_.get()) != bytes.size()) {
    return forward_error(writer.failed(errno));
  }
  return writer;
}

Status NpyWriter::write_row(std::span<const float> row) {
  CHECK(rows_left_ > 0 && row.size() == columns_);
  --rows_left_;
  if (std::fwrite(row.data(), sizeof(float), row.size(), file_.get()) != row.size()) {
    return failed(errno);
  }
  return {};
}

Status NpyWriter::finish() {
  CHECK(rows_left_ == 0);
  if (std::fflush(file_.get()) != 0) return failed(errno);
  std::error_code error;
  if (!in_place_) std::filesystem::rename(part(), path_, error);
  if (error) return failed(error.value());
  file_.reset();
  return {};
}

}  // namespace hadal
