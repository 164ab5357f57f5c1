// Writes a float32 matrix row by row as NumPy's .npy (format version 1.0,
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). The file appears under
// its name when finish() succeeds; until then it is `path` + ".part", which the writer removes if
// it ends before. What exists and is no regular file (a device, a pipe) is written to as it is.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>

#include "base/result.h"

namespace hadal {

class NpyWriter {
 public:
  // Errors name the path and the system's reason.
  static Result<NpyWriter> create(std::filesystem::path path, uint64_t rows, uint64_t columns);
  ~NpyWriter();
  NpyWriter(NpyWriter&& other) noexcept = default;
  NpyWriter& operator=(NpyWriter&&) = delete;

  Status write_row(std::span<const float> row);  // [columns]; a full disk is an error here or ...
  Status finish();                               // ... here. After all rows.

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  NpyWriter(std::filesystem::path path, std::FILE* file, uint64_t rows, uint64_t columns);
  Status failed(int error) const;
  std::filesystem::path part() const;

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  uint64_t rows_left_, columns_;
  bool in_place_ = false;
};

}  // namespace hadal
