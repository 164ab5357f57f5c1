#include "file/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <type_traits>
#include <vector>

#include "base/sizes.h"
#include "base/utf8.h"
#include "file/file_kind.h"

namespace hadal {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read as it lies in memory");

enum class ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kList,
  kU64,
  kI64,
  kF64
};

// Calls visit(T{}) with the C++ type of a number in the file; false: the type is no number.
template <typename Visit>
bool visit_number_type(ValueType type, Visit visit) {
  switch (type) {
    case ValueType::kU8:
      visit(uint8_t{});
      return true;
    case ValueType::kI8:
      visit(int8_t{});
      return true;
    case ValueType::kU16:
      visit(uint16_t{});
      return true;
    case ValueType::kI16:
      visit(int16_t{});
      return true;
    case ValueType::kU32:
      visit(uint32_t{});
      return true;
    case ValueType::kI32:
      visit(int32_t{});
      return true;
    case ValueType::kF32:
      visit(float{});
      return true;
    case ValueType::kU64:
      visit(uint64_t{});
      return true;
    case ValueType::kI64:
      visit(int64_t{});
      return true;
    case ValueType::kF64:
      visit(double{});
      return true;
    default:
      return false;
  }
}

// The type of Metadata that holds a number of the file.
template <typename Number>
using Widened = std::conditional_t<std::is_floating_point_v<Number>, double,
                                   std::conditional_t<std::is_signed_v<Number>, int64_t, uint64_t>>;

// Reads forward through the bytes; false: not enough are left, and nothing has moved.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}
  uint64_t offset() const { return offset_; }
  uint64_t left() const { return bytes_.size() - offset_; }

  template <typename Number>
  bool read(Number& number) {
    if (left() < sizeof(Number)) return false;
    std::memcpy(&number, bytes_.data() + offset_, sizeof(Number));
    offset_ += sizeof(Number);
    return true;
  }

  bool read(std::string_view& text) {
    uint64_t length;
    if (!read(length)) return false;
    if (length > left()) {
      offset_ -= sizeof(length);
      return false;
    }
    text = {reinterpret_cast<const char*>(bytes_.data()) + offset_, length};
    offset_ += length;
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t offset_ = 0;
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& file, ReadWhat what)
      : bytes_(bytes),
        cursor_(bytes),
        file_(file),
        what_(what),
        contents_{.metadata = Metadata(file, Dialect::kGguf)} {}

  Result<GgufContents> parse();

 private:
  struct Extent {  // of a tensor, in bytes of the data section
    uint64_t begin, end;
    const std::string* name;
  };

  Status read_start();
  Status read_key();
  Result<MetadataValue> read_value(std::string_view key, ValueType type);
  Result<MetadataValue> read_list(std::string_view key);
  Result<std::vector<std::string_view>> read_strings(std::string_view key, uint64_t count);
  Status read_alignment();
  Result<TensorInfo> read_tensor(uint64_t& offset);
  Status read_dimensions(TensorInfo& tensor);
  Status place_tensors(const std::vector<std::pair<TensorInfo, uint64_t>>& tensors);

  tl::unexpected<Error> ends_early(std::string_view where) const {
    return fail(
        "{}: the header ends early, at byte {} of {}, in {}; the file is cut off or damaged: "
        "download it again",
        file_, cursor_.offset(), bytes_.size(), where);
  }

  std::span<const std::byte> bytes_;
  Cursor cursor_;
  const std::string& file_;
  ReadWhat what_;
  GgufContents contents_;
  uint64_t tensor_count_ = 0, key_count_ = 0, list_elements_ = 0;
  uint64_t alignment_ = 32;
  uint64_t data_begin_ = 0;
};

Result<GgufContents> Parser::parse() {
  HADAL_TRY_VOID(read_start());
  for (uint64_t i = 0; i < key_count_; ++i) HADAL_TRY_VOID(read_key());
  HADAL_TRY_VOID(read_alignment());

  std::vector<std::pair<TensorInfo, uint64_t>> tensors;  // and the offset of each
  tensors.reserve(tensor_count_);
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    uint64_t offset = 0;
    HADAL_TRY(auto tensor, read_tensor(offset));
    tensors.emplace_back(std::move(tensor), offset);
  }
  data_begin_ =
      round_up(cursor_.offset(), alignment_);  // a size in memory plus at most 1 MiB: no overflow
  contents_.bytes_needed = cursor_.offset();
  HADAL_TRY_VOID(place_tensors(tensors));
  return std::move(contents_);
}

Status Parser::read_start() {
  uint32_t magic = 0;
  if (!cursor_.read(magic) || magic != 0x46554747u) {  // "GGUF"
    return fail("{}: {}", file_, describe_foreign_file(bytes_));
  }
  if (!cursor_.read(contents_.version)) return ends_early("the version");
  const uint32_t version = contents_.version;
  if (version != 0 && (version & 0xffff) == 0) {
    return fail(
        "{}: is a big-endian GGUF; only little-endian files are read: convert it, or download the "
        "usual form",
        file_);
  }
  if (version == 1) {
    return fail("{}: is GGUF version 1, a form given up in 2023; convert the model again", file_);
  }
  if (version < 2 || version > 3) {
    return fail("{}: is GGUF version {}; this program reads versions 2 and 3", file_, version);
  }
  if (!cursor_.read(tensor_count_) || !cursor_.read(key_count_)) return ends_early("the counts");
  if (key_count_ > kGgufKeysMax) {
    return fail("{}: claims {} keys; at most {} are read: the file is damaged", file_, key_count_,
                kGgufKeysMax);
  }
  if (tensor_count_ > kGgufTensorsMax) {
    return fail("{}: claims {} tensors; at most {} are read: the file is damaged", file_,
                tensor_count_, kGgufTensorsMax);
  }
  constexpr uint64_t kKeyBytesMin = 8 + 1 + 4 + 1, kTensorBytesMin = 8 + 1 + 4 + 8 + 4 + 8;
  if (key_count_ * kKeyBytesMin + tensor_count_ * kTensorBytesMin > cursor_.left()) {
    return fail(
        "{}: claims {} keys and {} tensors, more than its {} bytes can hold; the file is cut off "
        "or damaged: "
        "download it again",
        file_, key_count_, tensor_count_, bytes_.size());
  }
  return {};
}

Status Parser::read_key() {
  std::string_view key;
  if (!cursor_.read(key)) return ends_early("the name of a key");
  if (key.size() > kGgufNameBytesMax) {
    return fail("{}: the name of a key has {} bytes; at most {} are allowed", file_, key.size(),
                kGgufNameBytesMax);
  }
  if (!is_plain_name(key)) {
    return fail("{}: the key {} is not a plain name in UTF-8; the file is damaged", file_,
                quote(key));
  }
  uint32_t type;
  if (!cursor_.read(type)) return ends_early(fmt::format("the type of the key {}", quote(key)));
  HADAL_TRY(auto value, read_value(key, static_cast<ValueType>(type)));
  if (!contents_.metadata.insert(std::string(key), std::move(value))) {
    return fail("{}: the key {} is there twice", file_, quote(key));
  }
  return {};
}

Result<MetadataValue> Parser::read_value(std::string_view key, ValueType type) {
  const auto cut_off = [&] {
    return ends_early(fmt::format("the value of the key {}", quote(key)));
  };
  if (type == ValueType::kList) return read_list(key);
  if (type == ValueType::kString) {
    std::string_view text;
    if (!cursor_.read(text)) return cut_off();
    if (!is_utf8(text)) return fail("{}: the value of the key {} is not UTF-8", file_, quote(key));
    return text;
  }
  if (type == ValueType::kBool) {
    uint8_t truth;
    if (!cursor_.read(truth)) return cut_off();
    if (truth > 1) {
      return fail("{}: the key {} is a boolean with the value {}; 0 or 1 expected", file_,
                  quote(key), truth);
    }
    return truth == 1;
  }
  MetadataValue value;
  bool complete = false;
  const bool known = visit_number_type(type, [&]<typename Number>(Number number) {
    complete = cursor_.read(number);
    value = static_cast<Widened<Number>>(number);
  });
  if (!known) {
    return fail("{}: the key {} has the unknown type {}", file_, quote(key),
                static_cast<uint32_t>(type));
  }
  if (!complete) return cut_off();
  return value;
}

Result<MetadataValue> Parser::read_list(std::string_view key) {
  uint32_t raw_type;
  uint64_t count;
  if (!cursor_.read(raw_type) || !cursor_.read(count)) {
    return ends_early(fmt::format("the list under the key {}", quote(key)));
  }
  const auto type = static_cast<ValueType>(raw_type);
  if (type == ValueType::kList) {
    return fail("{}: the key {} is a list of lists, which this program does not read", file_,
                quote(key));
  }
  uint64_t element_bytes = type == ValueType::kString ? 8 : type == ValueType::kBool ? 1 : 0;
  visit_number_type(type, [&](auto number) { element_bytes = sizeof(number); });
  if (element_bytes == 0) {
    return fail("{}: the key {} is a list of the unknown type {}", file_, quote(key), raw_type);
  }
  if (count > cursor_.left() / element_bytes) {
    return fail(
        "{}: the key {} claims a list of {} elements, the {} bytes left cannot hold it; the file "
        "is cut off or "
        "damaged: download it again",
        file_, quote(key), count, cursor_.left());
  }
  list_elements_ += count;  // each count is bounded by the file's size, so the sum cannot wrap
                            // before it is refused
  if (list_elements_ > kGgufListElementsMax) {
    return fail(
        "{}: the lists of the header have more than {} elements, the limit is reached at the key "
        "{}",
        file_, kGgufListElementsMax, quote(key));
  }
  if (type == ValueType::kString) {
    HADAL_TRY(auto strings, read_strings(key, count));
    return MetadataArray(std::move(strings));
  }
  if (type == ValueType::kBool) {
    std::vector<bool> truths(count);
    for (uint64_t i = 0; i < count; ++i) {
      uint8_t truth = 0;
      cursor_.read(truth);  // the bytes are there: checked above
      if (truth > 1) {
        return fail("{}: element {} of the key {} is a boolean with the value {}; 0 or 1 expected",
                    file_, i, quote(key), truth);
      }
      truths[i] = truth == 1;
    }
    return MetadataArray(std::move(truths));
  }
  MetadataArray list;
  visit_number_type(type, [&]<typename Number>(Number number) {
    std::vector<Widened<Number>> numbers(count);
    for (auto& element : numbers) {
      cursor_.read(number);  // likewise
      element = static_cast<Widened<Number>>(number);
    }
    list = std::move(numbers);
  });
  return list;
}

// Vocabularies: hundreds of thousands of short strings, views into the file.
Result<std::vector<std::string_view>> Parser::read_strings(std::string_view key, uint64_t count) {
  std::vector<std::string_view> strings(count);
  for (uint64_t i = 0; i < count; ++i) {
    if (!cursor_.read(strings[i])) {
      return ends_early(fmt::format("string {} of {} under the key {}", i, count, quote(key)));
    }
    if (!is_utf8(strings[i])) {
      return fail("{}: string {} under the key {} is not UTF-8", file_, i, quote(key));
    }
  }
  return strings;
}

Status Parser::read_alignment() {
  static constexpr std::string_view kKey = "general.alignment";
  if (!contents_.metadata.has(kKey)) return {};
  HADAL_TRY(alignment_, contents_.metadata.unsigned_integer(kKey, UINT64_MAX));
  if (!std::has_single_bit(alignment_) || alignment_ < kGgufAlignmentMin ||
      alignment_ > kGgufAlignmentMax) {
    return fail("{}: the key '{}' is {}; expected a power of two from {} to {}", file_, kKey,
                alignment_, kGgufAlignmentMin, kGgufAlignmentMax);
  }
  return {};
}

Result<TensorInfo> Parser::read_tensor(uint64_t& offset) {
  std::string_view name;
  if (!cursor_.read(name)) return ends_early("the name of a tensor");
  if (name.size() > kGgufNameBytesMax) {
    return fail("{}: the name of a tensor has {} bytes; at most {} are allowed", file_, name.size(),
                kGgufNameBytesMax);
  }
  if (!is_plain_name(name)) {
    return fail("{}: the tensor {} has no plain name in UTF-8; the file is damaged", file_,
                quote(name));
  }
  TensorInfo tensor;
  tensor.name = name;
  tensor.file = file_;
  HADAL_TRY_VOID(read_dimensions(tensor));

  uint32_t type;
  if (!cursor_.read(type) || !cursor_.read(offset)) {
    return ends_early(fmt::format("the description of tensor {}", quote(name)));
  }
  const QuantFormat* format = find_gguf_format(type);
  if (format == nullptr) {
    const std::string_view known = gguf_type_name(type);
    return fail(
        "{}: tensor {} is stored as {}, a format this program does not read; get the model in "
        "another, q4_k or q8_0 "
        "for instance",
        file_, quote(name), known.empty() ? fmt::format("type {}", type) : std::string(known));
  }
  tensor.type = format->type;
  if (tensor.columns % format->block_values != 0) {
    return fail("{}: tensor {} has rows of {} values; {} stores {} at a time", file_, quote(name),
                tensor.columns, format->name, format->block_values);
  }
  if (offset % alignment_ != 0) {
    return fail("{}: tensor {} begins at offset {}, no multiple of the file's alignment {}", file_,
                quote(name), offset, alignment_);
  }
  return tensor;
}

Status Parser::read_dimensions(TensorInfo& tensor) {
  if (!cursor_.read(tensor.dimensions)) {
    return ends_early(fmt::format("the dimensions of tensor {}", quote(tensor.name)));
  }
  if (tensor.dimensions < 1 || tensor.dimensions > 4) {
    return fail("{}: tensor {} has {} dimensions; 1 to 4 are possible", file_, quote(tensor.name),
                tensor.dimensions);
  }
  uint64_t sizes[4] = {1, 1, 1, 1};  // innermost first
  for (uint32_t i = 0; i < tensor.dimensions; ++i) {
    if (!cursor_.read(sizes[i])) {
      return ends_early(fmt::format("the dimensions of tensor {}", quote(tensor.name)));
    }
    if (sizes[i] == 0 || sizes[i] > UINT32_MAX) {
      return fail("{}: dimension {} of tensor {} is {}; 1 to {} are possible", file_, i,
                  quote(tensor.name), sizes[i], UINT32_MAX);
    }
  }
  if (sizes[3] != 1) {
    return fail(
        "{}: tensor {} has four dimensions ({} x {} x {} x {}); no model this program knows has "
        "such a tensor",
        file_, quote(tensor.name), sizes[0], sizes[1], sizes[2], sizes[3]);
  }
  tensor.columns = static_cast<uint32_t>(sizes[0]);
  tensor.rows = static_cast<uint32_t>(sizes[1]);
  tensor.experts = static_cast<uint32_t>(sizes[2]);
  return {};
}

// Gives each tensor its bytes; now that the header's end is known, so is where the data section
// begins.
Status Parser::place_tensors(const std::vector<std::pair<TensorInfo, uint64_t>>& tensors) {
  std::vector<Extent> extents;
  extents.reserve(tensors.size());
  for (const auto& [tensor, offset] : tensors) {
    const auto rows = checked_multiply(tensor.rows, tensor.experts);
    const auto size =
        rows ? checked_multiply(*rows, row_bytes(tensor.type, tensor.columns)) : std::nullopt;
    const auto end = size ? checked_add(offset, *size) : std::nullopt;
    const auto file_end = end ? checked_add(*end, data_begin_) : std::nullopt;
    if (!file_end) {
      return fail("{}: tensor {} ({} x {} x {} at offset {}) is larger than any file can be", file_,
                  quote(tensor.name), tensor.columns, tensor.rows, tensor.experts, offset);
    }
    contents_.bytes_needed = std::max(contents_.bytes_needed, *file_end);
    TensorInfo placed = tensor;
    if (*file_end <= bytes_.size()) placed.data = bytes_.subspan(data_begin_ + offset, *size);
    extents.push_back({offset, *end, &tensor.name});
    if (!contents_.tensors.insert(std::move(placed))) {
      return fail("{}: the tensor {} is there twice", file_, quote(tensor.name));
    }
  }

  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].begin < extents[i - 1].end) {
      return fail("{}: the tensors {} and {} overlap; the file is damaged", file_,
                  quote(*extents[i - 1].name), quote(*extents[i].name));
    }
  }
  if (contents_.bytes_needed > bytes_.size() && what_ == ReadWhat::kEverything) {
    return fail(
        "{}: the file has {} of the {} bytes its header describes, {} are missing; it is cut off: "
        "download it again",
        file_, bytes_.size(), contents_.bytes_needed,
        format_bytes(contents_.bytes_needed - bytes_.size()));
  }
  return {};
}

}  // namespace

Result<GgufContents> read_gguf(std::span<const std::byte> bytes, const std::string& file,
                               ReadWhat what) {
  return Parser(bytes, file, what).parse();
}

}  // namespace hadal
