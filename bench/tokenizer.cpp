// How fast a tokenizer is, on one core: MB/s of each file, and of a megabyte of one letter and a
// megabyte of spaces, which tempt a tokenizer into quadratic time. The time is the thread's own, so
// that a busy machine does not matter; the median of the repeats, with the slowest and fastest.
//
//   bench_tokenizer MODEL-OR-FOLDER TEXT... [--repeats 5]
#include "text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "file/model_file.h"

namespace {

using namespace hadal;

template <typename T>
T or_exit(Result<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "{}\n", result.error().message);
  std::exit(1);
}

double thread_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Result<std::unique_ptr<Tokenizer>> open(const std::filesystem::path& path) {
  if (std::filesystem::exists(path / "tokenizer.json")) return Tokenizer::open_folder(path);
  HADAL_TRY(const auto file, ModelFile::open(path, ReadWhat::kHeaderOnly));
  return Tokenizer::open(*file);
}

void run(const Tokenizer& tokenizer, const std::string& name, const std::string& text,
         size_t repeats) {
  std::vector<double> speeds;
  size_t tokens = 0;
  for (size_t i = 0; i < repeats; ++i) {
    const double start = thread_seconds();
    tokens = or_exit(tokenizer.encode(text, SpecialTokens::kAsText)).size();
    speeds.push_back(static_cast<double>(text.size()) / 1e6 / (thread_seconds() - start));
  }
  std::sort(speeds.begin(), speeds.end());
  fmt::print("{:<30} {:>9} bytes {:>8} tokens {:7.1f} MB/s ({:.1f} to {:.1f})\n", name, text.size(),
             tokens, speeds[speeds.size() / 2], speeds.front(), speeds.back());
}

}  // namespace

int main(int count, char** words) {
  std::vector<std::string> paths;
  size_t repeats = 5;
  for (int i = 1; i < count; ++i) {
    if (words[i] == std::string("--repeats") && i + 1 < count) {
      repeats = std::max<size_t>(1, std::strtoul(words[++i], nullptr, 10));
    } else {
      paths.push_back(words[i]);
    }
  }
  if (paths.empty()) {
    fmt::print(stderr, "bench_tokenizer MODEL-OR-FOLDER TEXT... [--repeats 5]\n");
    return 2;
  }
  const double start = thread_seconds();
  const auto tokenizer = or_exit(open(paths[0]));
  fmt::print("{} tokens, {}; opened in {:.0f} ms\n", tokenizer->vocabulary_size(),
             tokenizer->pre_tokenizer(), 1e3 * (thread_seconds() - start));
  for (size_t i = 1; i < paths.size(); ++i) {
    std::ifstream file(paths[i], std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file || text.empty()) {
      fmt::print(stderr, "{}: cannot be read, or is empty\n", paths[i]);
      return 1;
    }
    run(*tokenizer, std::filesystem::path(paths[i]).filename(), text, repeats);
  }
  run(*tokenizer, "one letter", std::string(1 << 20, 'a'), repeats);
  run(*tokenizer, "spaces", std::string(1 << 20, ' '), repeats);
}
