// A tokenizer.json, and text for it behind a NUL: whatever they are, the result is a tokenizer or a
// sentence, ids or a sentence, and the ids are of the vocabulary.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/tokenizer/tokenizer_readers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t border = input.find('\0');
  const SideFiles files = [&](std::string_view name) -> Result<std::optional<std::string>> {
    if (name != "tokenizer.json") return std::nullopt;
    return std::string(input.substr(0, border));
  };
  const auto source = read_folder_vocabulary(files, "folder");
  if (!source) return 0;
  const auto tokenizer = make_tokenizer(*source);
  if (!tokenizer) return 0;
  const std::string_view text =
      border == std::string_view::npos ? input.substr(0, 200) : input.substr(border + 1);
  for (const SpecialTokens special : {SpecialTokens::kAsText, SpecialTokens::kParsed}) {
    const auto ids = (*tokenizer)->encode(text, special);
    if (!ids) continue;
    for (const TokenId id : *ids) {
      if (id < 0 || static_cast<uint32_t>(id) >= (*tokenizer)->vocabulary_size()) std::abort();
    }
    (void)(*tokenizer)->decode(*ids, special);
  }
  return 0;
}
