// Writes safetensors files for tests.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

class SafetensorsBuilder {
 public:
  // The next tensor, with made-up bytes. dtype: F32, F16, BF16 or F8_E4M3; shape: outermost first.
  SafetensorsBuilder& add(std::string_view name, std::string_view dtype,
                          const std::vector<uint64_t>& shape) {
    uint64_t bytes = dtype == "F32" ? 4 : dtype == "F8_E4M3" ? 1 : 2;
    for (const uint64_t size : shape) bytes *= size;
    header_ += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                           header_.empty() ? "" : ",", name, dtype, fmt::join(shape, ","),
                           data_.size(), data_.size() + bytes);
    for (uint64_t i = 0; i < bytes; ++i) data_ += static_cast<char>(i * 7 + name.size());
    return *this;
  }

  std::string build() const { return file(fmt::format("{{{}}}", header_), data_); }

  // Any header, any data; the header is padded as the official writers do, so that the data is
  // aligned.
  static std::string file(std::string header, std::string_view data) {
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t length = header.size();
    std::string bytes(sizeof(length), '\0');
    std::memcpy(bytes.data(), &length, sizeof(length));
    return bytes.append(header).append(data);
  }

 private:
  std::string header_, data_;
};

}  // namespace hadal
