#include "server/chat/vector_text.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <bit>
#include <iterator>

namespace hadal {

namespace {

static_assert(std::endian::native == std::endian::little);  // else the bytes would be turned around

constexpr size_t kNumberBytesUsual = 14;  // "-0.012345678,"

std::string numbers(std::span<const float> vector) {
  std::string text = "[";
  text.reserve(2 + vector.size() * kNumberBytesUsual);
  for (const float value : vector) {
    if (text.size() > 1) text += ',';
    fmt::format_to(std::back_inserter(text), "{}", value);
  }
  text += ']';
  return text;
}

std::string base64(std::span<const float> vector) {
  const auto bytes = std::as_bytes(vector);
  const size_t length = (bytes.size() + 2) / 3 * 4;
  std::string text(length + 1, '\0');  // OpenSSL ends it with a zero
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  text.resize(length);
  return '"' + text + '"';
}

}  // namespace

std::string vector_json(std::span<const float> vector, VectorForm form) {
  return form == VectorForm::kBase64 ? base64(vector) : numbers(vector);
}

}  // namespace hadal
