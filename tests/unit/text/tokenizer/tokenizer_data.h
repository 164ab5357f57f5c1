// What the tokenizer tests share: real vocabularies, unpacked once beside the test program, and
// random text.
#pragma once

#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/tokenizer_source.h"

namespace hadal::testing {

// The folder that holds deepseek-v3/, llama3/, qwen2/, minimind/ and gguf/. Ends the test program
// where it cannot be made.
const std::filesystem::path& vocabularies();

// A file of tests/data/text/tokenizers, or any other, whole.
std::string read_file(const std::filesystem::path& path);

// "deepseek-v3" (tokenizer.json), "qwen2", "llama3" (two files each), "minimind", or a GGUF:
// "gguf/ggml-vocab-gpt-2.gguf". pre_tokenizer: put in the place of the folder's own, and no normal
// form; "": as it is. Each is opened once a program.
const Tokenizer& open_vocabulary(const std::string& name, const std::string& pre_tokenizer = "");

// Text to split and encode: characters of all classes that patterns ask about, mixed so that rare
// neighbours meet.
class RandomText {
 public:
  explicit RandomText(uint32_t seed) : random_(seed) {}
  uint32_t below(uint32_t limit) {
    return std::uniform_int_distribution<uint32_t>(0, limit - 1)(random_);
  }
  std::string bytes(size_t count);       // any bytes
  std::string characters(size_t count);  // valid UTF-8
  std::string mixed(size_t count);       // valid UTF-8 with some invalid bytes

 private:
  uint32_t code_point();
  std::mt19937 random_;
};

// The words of a pre-tokenizer, as offsets where they begin and end.
struct WordList final : public WordSink {
  void word(size_t begin, size_t end) override { words.emplace_back(begin, end); }
  std::vector<std::pair<size_t, size_t>> words;
};

}  // namespace hadal::testing
