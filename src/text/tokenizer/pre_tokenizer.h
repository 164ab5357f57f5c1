// The pre-tokenizer: cuts text into words, inside which byte pairs are merged; no token crosses a
// border between words. A pre-tokenizer is a list of stages; each cuts every piece that the stage
// before it left, seeing nothing beyond the piece (so `$` is the piece's end). The ones of the
// DeepSeek family and its bases are known by name, or recognised by their patterns, and run on
// hand-written scanners; any other list of patterns runs on PCRE2, bounded in time. Immutable after
// creation; any thread may use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hadal {

// What a stage does with the stretches its pattern matches, in the words of Hugging Face's
// tokenizers.
enum class SplitBehavior : uint8_t {
  kIsolated,            // each match is a piece, and so is each stretch between matches
  kRemoved,             // matches are dropped
  kMergedWithPrevious,  // a match belongs to the piece before it
  kMergedWithNext,      // a match belongs to the piece after it
  kContiguous,          // as isolated, but matches that touch are one piece
};

struct SplitStage {
  std::string pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;   // what the pattern does not match counts as the match
  bool literal = false;  // the pattern is plain text
};

class WordSink {
 public:
  virtual void word(size_t begin,
                    size_t end) = 0;  // bytes [begin, end) of the text; never empty; in order

 protected:
  ~WordSink() = default;
};

class RegexStages;
struct KnownPreTokenizer;

class PreTokenizer {
 public:
  // By the name that GGUF files carry in tokenizer.ggml.pre. The error lists the names.
  static Result<PreTokenizer> named(std::string_view name);
  // From a tokenizer.json. Errors: a pattern that PCRE2 does not take, with the place; too many
  // stages.
  static Result<PreTokenizer> from_stages(std::vector<SplitStage> stages);

  // Calls the sink for each word. Bytes that are not UTF-8 make words of their own, between which
  // the rest is split as if it were the whole text. Errors: a pattern that needs too much time or
  // memory on this text.
  Status split(std::string_view text, WordSink& sink) const;

  bool splits_nothing() const { return known_ == nullptr && stages_ == nullptr; }
  bool drops_text() const { return drops_text_; }  // not every byte comes to a word
  std::string_view name() const;  // "" where the patterns are none of the known ones

  // What goes with a name in llama.cpp, where the file does not say.
  bool default_ignore_merges() const;
  bool default_adds_bos() const;

  static constexpr size_t kStagesMax = 32;

 private:
  const KnownPreTokenizer* known_ = nullptr;
  std::shared_ptr<const RegexStages>
      stages_;  // null: known_ says it all, or there is nothing to split by
  bool drops_text_ = false;
};

// The patterns that a known name stands for, all kIsolated: what the scanners are held to in tests.
// Empty: unknown name.
std::vector<std::string> known_patterns(std::string_view name);
std::vector<std::string_view> known_pre_tokenizers();  // names, without aliases

}  // namespace hadal
