// Pre-tokenizer patterns that have no scanner of their own, on PCRE2. Patterns and texts are
// hostile: a pattern has a limit of length and nesting, a match a limit of steps, and a split a
// limit of time.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/pre_tokenizer.h"

namespace hadal {

class RegexStages {
 public:
  // The patterns are Oniguruma's dialect, as Hugging Face's tokenizers take them. What PCRE2 would
  // read differently is translated (\s, $, ^) or refused (class intersections).
  static Result<std::shared_ptr<const RegexStages>> compile(const std::vector<SplitStage>& stages);
  ~RegexStages();

  // text is valid UTF-8; word offsets count from its start, plus `offset`.
  Status split(std::string_view text, size_t offset, WordSink& sink) const;

  static constexpr size_t kPatternBytesMax = 64 << 10;
  static constexpr uint32_t kMatchStepsMax = 5'000'000;  // backtracks in one match
  // A split takes at most this much of its thread's time: a fixed part and a part for each byte
  // (5 s/MB; ordinary patterns need 0.1).
  static constexpr uint64_t kSplitNanosecondsMin = 2'000'000'000;
  static constexpr uint64_t kSplitNanosecondsPerByte = 5'000;

 private:
  struct Compiled;
  struct Run;
  RegexStages() = default;
  Status split_stage(Run& run, size_t stage, size_t begin, size_t end) const;
  std::vector<Compiled> stages_;
};

// The pattern as PCRE2 reads it; error: what cannot be said in PCRE2. For RegexStages and its
// tests.
Result<std::string> translate_pattern(std::string_view pattern);

}  // namespace hadal
