// GGUF headers from memory: any bytes end in contents or an error, and tensors lie inside the
// bytes.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "file/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const ReadWhat what : {ReadWhat::kHeaderOnly, ReadWhat::kEverything}) {
    const auto contents = read_gguf(bytes, "input", what);
    if (!contents) continue;
    volatile unsigned sum = 0;  // so that the reads are made
    for (const auto& [name, tensor] : contents->tensors.tensors()) {
      if (what == ReadWhat::kEverything && tensor.data.empty()) std::abort();
      if (!tensor.data.empty())
        sum = sum + static_cast<unsigned>(tensor.data.front()) +
              static_cast<unsigned>(tensor.data.back());
    }
    for (const auto& [key, value] : contents->metadata.values()) {
      (void)contents->metadata.unsigned_integer(key);
      (void)contents->metadata.floats(key);
      (void)contents->metadata.strings(key);
    }
  }
  return 0;
}
