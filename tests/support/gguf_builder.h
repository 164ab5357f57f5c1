// Writes GGUF files for tests: sound ones from a few calls, and unsound ones by setting a field to
// what it should not be.
//
//   GgufBuilder file;
//   file.set_string("general.architecture", "llama").set_u32("llama.block_count", 2);
//   file.add_tensor("output_norm.weight", {8}, QuantType::kF32, bytes);
//   file.write(folder.path() / "model.gguf");
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/sizes.h"
#include "quant/format.h"

namespace hadal {

// Little-endian bytes, one field after another.
class Bytes {
 public:
  template <typename Number>
  Bytes& number(Number value) {
    char bytes[sizeof(Number)];
    std::memcpy(bytes, &value, sizeof(Number));
    data_.append(bytes, sizeof(Number));
    return *this;
  }
  Bytes& u8(uint8_t value) { return number(value); }
  Bytes& u16(uint16_t value) { return number(value); }
  Bytes& u32(uint32_t value) { return number(value); }
  Bytes& i32(int32_t value) { return number(value); }
  Bytes& u64(uint64_t value) { return number(value); }
  Bytes& f32(float value) { return number(value); }
  Bytes& string(std::string_view text) {  // GGUF's: a u64 length and the bytes
    u64(text.size());
    return raw(text);
  }
  Bytes& raw(std::string_view bytes) {
    data_ += bytes;
    return *this;
  }
  const std::string& data() const { return data_; }

 private:
  std::string data_;
};

class GgufBuilder {
 public:
  // The numbers of GGUF's value types.
  enum Type : uint32_t {
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

  // Fields of the header; change them to make an unsound file.
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment =
      32;  // where the tensors are put; set_u32("general.alignment", ...) says so in the file
  std::optional<uint64_t> key_count,
      tensor_count;  // what the header claims, where it is not the truth

  // A key with any type number and any bytes for its value.
  GgufBuilder& set_raw(std::string_view key, uint32_t type, std::string_view value) {
    keys_.push_back(Bytes().string(key).u32(type).raw(value).data());
    return *this;
  }
  GgufBuilder& set_u16(std::string_view key, uint16_t value) {
    return set_raw(key, kU16, Bytes().u16(value).data());
  }
  GgufBuilder& set_u32(std::string_view key, uint32_t value) {
    return set_raw(key, kU32, Bytes().u32(value).data());
  }
  GgufBuilder& set_i32(std::string_view key, int32_t value) {
    return set_raw(key, kI32, Bytes().i32(value).data());
  }
  GgufBuilder& set_u64(std::string_view key, uint64_t value) {
    return set_raw(key, kU64, Bytes().u64(value).data());
  }
  GgufBuilder& set_f32(std::string_view key, float value) {
    return set_raw(key, kF32, Bytes().f32(value).data());
  }
  GgufBuilder& set_bool(std::string_view key, bool value) {
    return set_raw(key, kBool, Bytes().u8(value ? 1 : 0).data());
  }
  GgufBuilder& set_string(std::string_view key, std::string_view value) {
    return set_raw(key, kString, Bytes().string(value).data());
  }
  GgufBuilder& set_strings(std::string_view key, const std::vector<std::string>& values) {
    Bytes bytes = list_start(kString, values.size());
    for (const std::string& value : values) bytes.string(value);
    return set_raw(key, kList, bytes.data());
  }
  GgufBuilder& set_i32s(std::string_view key, const std::vector<int32_t>& values) {
    Bytes bytes = list_start(kI32, values.size());
    for (const int32_t value : values) bytes.i32(value);
    return set_raw(key, kList, bytes.data());
  }
  GgufBuilder& set_f32s(std::string_view key, const std::vector<float>& values) {
    Bytes bytes = list_start(kF32, values.size());
    for (const float value : values) bytes.f32(value);
    return set_raw(key, kList, bytes.data());
  }
  static Bytes list_start(uint32_t element_type, uint64_t count) {
    return Bytes().u32(element_type).u64(count);
  }

  // A tensor at the next free place. dimensions: innermost first (columns, rows, experts). data:
  // its bytes.
  GgufBuilder& add_tensor(std::string_view name, const std::vector<uint64_t>& dimensions,
                          QuantType type, std::string_view data) {
    const uint64_t offset = round_up(data_.size(), alignment);
    data_.resize(offset);
    data_ += data;
    return describe_tensor(name, dimensions, static_cast<uint32_t>(type), offset);
  }
  // The same with made-up bytes of the right number.
  GgufBuilder& add_tensor(std::string_view name, const std::vector<uint64_t>& dimensions,
                          QuantType type) {
    uint64_t rows = 1;
    for (size_t i = 1; i < dimensions.size(); ++i) rows *= dimensions[i];
    std::string data(rows * row_bytes(type, dimensions.at(0)), '\0');
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + name.size());
    return add_tensor(name, dimensions, type, data);
  }
  // The description of a tensor alone, true or not.
  GgufBuilder& describe_tensor(std::string_view name, const std::vector<uint64_t>& dimensions,
                               uint32_t type, uint64_t offset) {
    Bytes bytes;
    bytes.string(name).u32(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t size : dimensions) bytes.u64(size);
    tensors_.push_back(bytes.u32(type).u64(offset).data());
    return *this;
  }

  // The whole file. The header alone is its first header_bytes() bytes, padding to the data section
  // included.
  std::string build() const { return header() + data_; }
  uint64_t header_bytes() const { return header().size(); }

  void write(const std::filesystem::path& path) const {
    std::ofstream(path, std::ios::binary) << build();
  }

 private:
  std::string header() const {
    Bytes bytes;
    bytes.raw(magic)
        .u32(version)
        .u64(tensor_count.value_or(tensors_.size()))
        .u64(key_count.value_or(keys_.size()));
    for (const std::string& key : keys_) bytes.raw(key);
    for (const std::string& tensor : tensors_) bytes.raw(tensor);
    std::string header = bytes.data();
    header.resize(round_up(header.size(), alignment));
    return header;
  }

  std::vector<std::string> keys_, tensors_;
  std::string data_;
};

}  // namespace hadal
