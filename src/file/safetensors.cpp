#include "file/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/sizes.h"
#include "base/utf8.h"
#include "file/file_kind.h"
#include "file/json_events.h"

namespace hadal {
namespace {

constexpr size_t kNameBytesMax = 65535;
constexpr size_t kDimensionsMax = 8;

// A tensor as the header describes it, nothing of it checked yet but its name.
struct Entry {
  std::string name, dtype;
  std::vector<uint64_t> shape, offsets;
  bool has_dtype = false, has_shape = false;
};

// The header's shape is three levels: the object, a tensor's object, a list in it.
class HeaderReader : public JsonEvents {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}
  std::vector<Entry> take_entries() { return std::move(entries_); }

  Status null() override { return misplaced("null"); }
  Status boolean(bool) override { return misplaced("a boolean"); }
  Status integer(int64_t) override { return misplaced("a negative number"); }
  Status number(double) override { return misplaced("a fraction or too large a number"); }

  Status unsigned_integer(uint64_t value) override {
    if (list_ == nullptr) return misplaced("a number");
    const size_t most = list_ == &entry_.offsets ? 2 : kDimensionsMax;
    if (list_->size() == most)
      return misplaced(fmt::format("a list of more than {} numbers", most));
    list_->push_back(value);
    return {};
  }

  Status string(std::string_view value) override {
    if (depth_ == 2 && in_metadata_) return {};
    if (depth_ != 2 || list_ != nullptr || field_ != "dtype") return misplaced("a string");
    entry_.dtype = value;
    entry_.has_dtype = true;
    return {};
  }

  Status key(std::string_view key) override {
    if (depth_ == 2) {
      field_ = key;
      return {};
    }
    in_metadata_ = key == "__metadata__";
    if (key.size() > kNameBytesMax) {
      return fail("{}: the name of a tensor has {} bytes; at most {} are allowed", file_,
                  key.size(), kNameBytesMax);
    }
    if (!is_plain_name(key)) return fail("{}: the tensor {} has no plain name", file_, quote(key));
    entry_ = Entry();
    entry_.name = key;
    return {};
  }

  Status begin_object() override {
    if (depth_ == 2 || list_ != nullptr) return misplaced("an object");
    ++depth_;
    return {};
  }

  Status end_object() override {
    if (--depth_ != 1 || in_metadata_) return {};
    if (!entry_.has_dtype || !entry_.has_shape || entry_.offsets.size() != 2) {
      return fail("{}: tensor {} lacks dtype, shape or data_offsets", file_, quote(entry_.name));
    }
    if (entries_.size() == kSafetensorsTensorsMax) {
      return fail("{}: has more than {} tensors, which is the limit", file_,
                  kSafetensorsTensorsMax);
    }
    entries_.push_back(std::move(entry_));
    return {};
  }

  Status begin_list() override {
    if (depth_ == 2 && list_ == nullptr && !in_metadata_) {
      if (field_ == "shape") list_ = &entry_.shape;
      if (field_ == "data_offsets") list_ = &entry_.offsets;
    }
    if (list_ == nullptr) return misplaced("a list");
    entry_.has_shape = entry_.has_shape || list_ == &entry_.shape;
    return {};
  }

  Status end_list() override {
    list_ = nullptr;
    return {};
  }

 private:
  Status misplaced(std::string_view what) const {
    return fail("{}: its header has {} where the format has none (tensor {}); the file is damaged",
                file_, what, quote(entry_.name));
  }

  const std::string& file_;
  std::vector<Entry> entries_;
  Entry entry_;
  std::string field_;
  std::vector<uint64_t>* list_ = nullptr;  // the open list
  int depth_ = 0;
  bool in_metadata_ = false;
};

std::optional<QuantType> type_of(std::string_view dtype) {
  if (dtype == "F32") return QuantType::kF32;
  if (dtype == "F16") return QuantType::kF16;
  if (dtype == "BF16") return QuantType::kBF16;
  if (dtype == "F8_E4M3") return QuantType::kF8_E4M3;
  return std::nullopt;
}

class Placer {
 public:
  Placer(std::span<const std::byte> bytes, const std::string& file, uint64_t data_begin)
      : bytes_(bytes), file_(file), data_begin_(data_begin) {}

  // Tensors in the order of their offsets.
  Result<SafetensorsContents> place(std::vector<Entry> entries);

 private:
  Result<TensorInfo> describe(const Entry& entry) const;

  std::span<const std::byte> bytes_;
  const std::string& file_;
  uint64_t data_begin_;
};

Result<TensorInfo> Placer::describe(const Entry& entry) const {
  TensorInfo tensor;
  tensor.name = entry.name;
  tensor.file = file_;
  const auto type = type_of(entry.dtype);
  if (!type) {
    return fail(
        "{}: tensor {} is stored as {}; read are F32, F16, BF16 and F8_E4M3 (other quantised "
        "folders have a GGUF form)",
        file_, quote(entry.name), quote(entry.dtype, 20));
  }
  tensor.type = *type;
  tensor.dimensions = static_cast<uint32_t>(entry.shape.size());
  for (const uint64_t size : entry.shape) {
    if (size == 0 || size > UINT32_MAX) {
      return fail("{}: tensor {} has a dimension of {}; 1 to {} are possible", file_,
                  quote(entry.name), size, UINT32_MAX);
    }
  }
  // Outermost first; no model of ours has more than [experts, rows, columns].
  const size_t dimensions = entry.shape.size();
  if (dimensions > 3) {
    return fail("{}: tensor {} has {} dimensions; no model this program knows has such a tensor",
                file_, quote(entry.name), dimensions);
  }
  if (dimensions >= 1) tensor.columns = static_cast<uint32_t>(entry.shape[dimensions - 1]);
  if (dimensions >= 2) tensor.rows = static_cast<uint32_t>(entry.shape[dimensions - 2]);
  if (dimensions >= 3) tensor.experts = static_cast<uint32_t>(entry.shape[0]);

  const auto matrices = checked_multiply(tensor.rows, tensor.experts);
  const auto size =
      matrices ? checked_multiply(*matrices, row_bytes(*type, tensor.columns)) : std::nullopt;
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  if (!size || end < begin || end - begin != *size || !checked_add(end, data_begin_)) {
    return fail(
        "{}: tensor {} ({} x {} x {} {}) lies at the offsets {} to {}, which do not fit its size; "
        "the file is damaged",
        file_, quote(entry.name), tensor.experts, tensor.rows, tensor.columns, entry.dtype, begin,
        end);
  }
  // Devices read values where they lie; the official writers pad the header and sort by type, so
  // that this holds.
  const uint64_t value_bytes = quant_format(*type).block_bytes;
  if ((data_begin_ + begin) % value_bytes != 0) {
    return fail(
        "{}: tensor {} begins at byte {}, no multiple of the {} bytes of its values; write the "
        "file again with a current "
        "safetensors library",
        file_, quote(entry.name), data_begin_ + begin, value_bytes);
  }
  return tensor;
}

Result<SafetensorsContents> Placer::place(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  SafetensorsContents contents;
  uint64_t covered = 0;  // of the data section
  for (const Entry& entry : entries) {
    HADAL_TRY(auto tensor, describe(entry));
    if (entry.offsets[0] != covered) {
      return fail(
          "{}: tensor {} begins at offset {} of the data, {} was expected: tensors overlap or "
          "leave a hole; the file is damaged",
          file_, quote(entry.name), entry.offsets[0], covered);
    }
    covered = entry.offsets[1];
    if (data_begin_ + covered <= bytes_.size()) {
      tensor.data =
          bytes_.subspan(data_begin_ + entry.offsets[0], entry.offsets[1] - entry.offsets[0]);
    }
    if (!contents.tensors.insert(std::move(tensor))) {
      return fail("{}: the tensor {} is there twice", file_, quote(entry.name));
    }
  }
  contents.bytes_needed = data_begin_ + covered;
  return contents;
}

}  // namespace

Result<SafetensorsContents> read_safetensors(std::span<const std::byte> bytes,
                                             const std::string& file, ReadWhat what) {
  uint64_t header_bytes = 0;
  constexpr uint64_t kLengthBytes = sizeof(header_bytes);
  // The format has no signature: what is no plausible length with a brace behind it is another kind
  // of file.
  if (bytes.size() > kLengthBytes) std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  if (bytes.size() <= kLengthBytes || bytes[kLengthBytes] != std::byte{'{'}) {
    return fail("{}: {}", file, describe_foreign_file(bytes));
  }
  if (header_bytes > kSafetensorsHeaderBytesMax) {
    return fail("{}: claims a header of {}; at most {} are allowed: the file is damaged", file,
                format_bytes(header_bytes), format_bytes(kSafetensorsHeaderBytesMax));
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    return fail("{}: has {} bytes, its header alone needs {}; it is cut off: download it again",
                file, bytes.size(), header_bytes + kLengthBytes);
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                                header_bytes);
  HeaderReader reader(file);
  HADAL_TRY_VOID(read_json(header, file, reader,
                           {.depth_max = 3, .keys_max = 4 * kSafetensorsTensorsMax + 65536}));

  HADAL_TRY(auto contents,
            Placer(bytes, file, kLengthBytes + header_bytes).place(reader.take_entries()));
  if (contents.bytes_needed > bytes.size() && what == ReadWhat::kEverything) {
    return fail(
        "{}: the file has {} of the {} bytes its header describes, {} are missing; it is cut off: "
        "download it again",
        file, bytes.size(), contents.bytes_needed,
        format_bytes(contents.bytes_needed - bytes.size()));
  }
  if (contents.bytes_needed < bytes.size()) {
    return fail(
        "{}: the file has {} bytes, its header describes {}; the rest belongs to no tensor, which "
        "the format forbids: "
        "the file is damaged, download it again",
        file, bytes.size(), contents.bytes_needed);
  }
  return contents;
}

}  // namespace hadal
