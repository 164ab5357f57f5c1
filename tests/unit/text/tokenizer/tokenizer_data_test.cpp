#include "unit/text/tokenizer/tokenizer_data.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "file/model_file.h"
#include "text/tokenizer/tokenizer_readers.h"
#include "text/unicode.h"

namespace hadal::testing {
namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// cmake built this program, so cmake is there to unpack. Tests run side by side: each unpacks into
// a folder of its own, and the first to be ready gives its folder the name.
const fs::path& vocabularies() {
  static const fs::path folder = [] {
    const fs::path archive = fs::path(HADAL_TEST_DATA) / "text/tokenizers/vocabularies.tar.xz";
    const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
    const fs::path ready = here / ("vocabularies-" + std::to_string(fs::file_size(archive)));
    if (fs::exists(ready)) return ready;
    const fs::path own = here / ("vocabularies-unpacking-" + std::to_string(getpid()));
    fs::create_directories(own);
    const std::string command =
        "cd '" + own.string() + "' && cmake -E tar xf '" + archive.string() + "'";
    if (std::system(command.c_str()) != 0) {
      ADD_FAILURE() << "cannot unpack: " << command;
      std::abort();
    }
    std::error_code error;
    fs::rename(own, ready, error);
    if (error) fs::remove_all(own);
    return ready;
  }();
  return folder;
}

namespace {

Result<std::unique_ptr<Tokenizer>> open_with(const std::string& name, const std::string& pre) {
  const fs::path path = vocabularies() / name;
  if (path.extension() == ".gguf") {
    HADAL_TRY(const auto file, ModelFile::open(path));
    return Tokenizer::open(*file);
  }
  if (pre.empty()) return Tokenizer::open_folder(path);
  const SideFiles files = [&](std::string_view file) -> Result<std::optional<std::string>> {
    if (!fs::exists(path / file)) return std::nullopt;
    return read_file(path / file);
  };
  HADAL_TRY(VocabularySource source, read_folder_vocabulary(files, path.string()));
  HADAL_TRY(source.pre_tokenizer, PreTokenizer::named(pre));
  source.normalizer.clear();
  return make_tokenizer(source);
}

}  // namespace

const Tokenizer& open_vocabulary(const std::string& name, const std::string& pre_tokenizer) {
  static std::map<std::pair<std::string, std::string>, std::unique_ptr<Tokenizer>> opened;
  std::unique_ptr<Tokenizer>& tokenizer = opened[{name, pre_tokenizer}];
  if (tokenizer == nullptr) {
    auto result = open_with(name, pre_tokenizer);
    if (!result) {
      ADD_FAILURE() << result.error().message;
      std::abort();
    }
    tokenizer = std::move(*result);
  }
  return *tokenizer;
}

uint32_t RandomText::code_point() {
  // Each a first and a last: what the patterns distinguish, down to single characters.
  static constexpr uint32_t kRanges[][2] = {
      {'a', 'z'},         {'A', 'Z'},         {'0', '9'},          {' ', ' '},
      {' ', ' '},         {'\n', '\n'},       {'\r', '\r'},        {'\t', '\t'},
      {'\'', '\''},       {'!', '/'},         {':', '@'},          {'[', '`'},
      {'{', '~'},         {0x0, 0x1f},        {0x7f, 0xa0},        {0xa1, 0xff},
      {0x17f, 0x17f},     {0x100, 0x24f},     {0x300, 0x36f},      {0x370, 0x3ff},
      {0x400, 0x52f},     {0x531, 0x58f},     {0x600, 0x6ff},      {0x900, 0x97f},
      {0xe00, 0xe7f},     {0x1780, 0x17ff},   {0x1c80, 0x1cbf},    {0x1d00, 0x1fff},
      {0x2000, 0x206f},   {0x2070, 0x20ff},   {0x2100, 0x21ff},    {0x2200, 0x27bf},
      {0x2c00, 0x2dff},   {0x3000, 0x303f},   {0x3040, 0x30ff},    {0x3400, 0x4dff},
      {0x4e00, 0x9fff},   {0xa640, 0xa7ff},   {0xac00, 0xd7ff},    {0xe000, 0xf8ff},
      {0xf900, 0xfdff},   {0xfe00, 0xfe6f},   {0xff00, 0xffef},    {0x10000, 0x10fff},
      {0x11800, 0x118ff}, {0x1d400, 0x1d7ff}, {0x1e900, 0x1e95f},  {0x1f300, 0x1faff},
      {0x20000, 0x2a6df}, {0xe0000, 0xe01ff}, {0x10ffff, 0x10ffff}};
  const auto& range = kRanges[below(std::size(kRanges))];
  return range[0] + below(range[1] - range[0] + 1);
}

std::string RandomText::bytes(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += static_cast<char>(below(256));
  return text;
}

std::string RandomText::characters(size_t count) {
  std::string text;
  while (count > 0) {
    // Runs, for the patterns are about runs; and contractions.
    const uint32_t c = code_point();
    const size_t run = std::min<size_t>(count, below(3) == 0 ? 1 + below(6) : 1);
    for (size_t i = 0; i < run; ++i) append_code_point(text, c);
    count -= run;
    if (below(40) == 0) {
      static constexpr std::string_view kParts[] = {"'s", "'T",  "'ll",  "'Re", "'\u017f", "'lL",
                                                    "'d", " 12", "\r\n", "  ",  "don't",   "'m"};
      text += kParts[below(std::size(kParts))];
    }
  }
  return text;
}

std::string RandomText::mixed(size_t count) {
  std::string text;
  while (text.size() < count) {
    text += characters(1 + below(20));
    text += bytes(below(4));
  }
  return text;
}

}  // namespace hadal::testing
