// The JSON files of a Hugging Face folder: config.json and the index of shards. Any text ends in
// values or an error.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "file/json_config.h"
#include "file/weight_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Metadata metadata("input", Dialect::kHuggingFace);
  std::vector<std::unique_ptr<std::string>> owned;
  std::vector<std::string> warnings;
  if (add_json_config(text, "input", "generation.", metadata, owned, warnings)) {
    for (const auto& [key, value] : metadata.values()) {
      (void)metadata.unsigned_integer(key);
      (void)metadata.integers(key);
      (void)metadata.strings(key);
    }
  }
  (void)read_weight_index(text, "input");
  return 0;
}
