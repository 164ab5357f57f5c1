// A vector as JSON: a list of numbers, each the shortest that reads back as the same float; or one
// string of base64 (RFC 4648) over little-endian floats, as OpenAI's clients ask for it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace hadal {

enum class VectorForm : uint8_t { kNumbers, kBase64 };

std::string vector_json(std::span<const float> vector, VectorForm form);  // finite numbers

}  // namespace hadal
