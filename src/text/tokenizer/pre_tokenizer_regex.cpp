#include "text/tokenizer/pre_tokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <ctime>
#include <optional>

#include "base/utf8.h"
#include "text/unicode.h"

namespace hadal {

struct RegexStages::Compiled {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
  std::string pattern;  // as given, for messages
};

// The state of one split: match data and limits belong to one thread.
struct RegexStages::Run {
  std::string_view text;
  size_t offset;
  WordSink& sink;
  uint64_t deadline;  // by thread_nanoseconds()
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context{
      nullptr, &pcre2_match_context_free};
  std::unique_ptr<pcre2_jit_stack, decltype(&pcre2_jit_stack_free)> jit_stack{
      nullptr, &pcre2_jit_stack_free};
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match{nullptr,
                                                                            &pcre2_match_data_free};
  uint32_t matches_until_clock = 0;
};

namespace {

constexpr size_t kJitStackBytesMin = 32 << 10;
constexpr size_t kJitStackBytesMax = 8 << 20;
constexpr uint32_t kHeapKilobytesMax = 64 << 10;
constexpr uint32_t kNestingMax = 100;
constexpr uint32_t kMatchesPerClockReading = 64;

// Time that this thread has worked: a text is not too slow because the machine was busy or stopped.
uint64_t thread_nanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::string pcre2_message(int code) {
  PCRE2_UCHAR message[256];
  if (pcre2_get_error_message(code, message, sizeof message) < 0) return "unknown error";
  return reinterpret_cast<const char*>(message);
}

}  // namespace

Result<std::string> translate_pattern(std::string_view pattern) {
  std::string translated;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      // PCRE2's \s holds U+180E, which has not been white space since Unicode 6.3.
      if (escaped == 's') {
        translated += "\\p{White_Space}";
      } else if (escaped == 'S') {
        translated += "\\P{White_Space}";
      } else if (escaped == 'h') {  // a hexadecimal digit in Oniguruma, a blank in PCRE2
        translated += in_class ? "0-9a-fA-F" : "[0-9a-fA-F]";
      } else {
        translated += c;
        translated += escaped;
      }
      continue;
    }
    if (in_class && pattern.substr(i, 2) == "&&") {
      return fail("the class intersection && is not supported");
    }
    if (in_class && c == '[' && pattern.substr(i, 2) != "[:") {
      return fail("a class within a class is not supported");
    }
    if (!in_class && c == '[') {
      in_class = true;
    } else if (in_class && c == ']') {
      in_class = false;
    }
    translated += c;
    if (in_class && c == '[' && pattern.substr(i, 2) == "[:") {
      const size_t close = pattern.find(":]", i + 2);
      if (close != std::string_view::npos && i > 0) {
        translated += pattern.substr(i + 1, close + 1 - i);
        i = close + 1;
      }
    }
  }
  return translated;
}

RegexStages::~RegexStages() = default;

Result<std::shared_ptr<const RegexStages>> RegexStages::compile(
    const std::vector<SplitStage>& stages) {
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  if (context == nullptr) return fail("no memory for the pre-tokenizer's patterns");
  pcre2_set_parens_nest_limit(context.get(), kNestingMax);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context.get(), 8 * kPatternBytesMax);  // as translated

  std::shared_ptr<RegexStages> compiled(new RegexStages);
  for (const SplitStage& stage : stages) {
    const std::string shown = quote(stage.pattern, 60);
    if (stage.pattern.size() > kPatternBytesMax) {
      return fail("a pre-tokenizer pattern has {} bytes, more than the limit of {}",
                  stage.pattern.size(), kPatternBytesMax);
    }
    if (valid_utf8_prefix(stage.pattern) != stage.pattern.size()) {
      return fail("a pre-tokenizer pattern is not UTF-8");
    }
    Result<std::string> pattern = stage.literal ? stage.pattern : translate_pattern(stage.pattern);
    if (!pattern) return fail("pre-tokenizer pattern {}: {}", shown, pattern.error().message);
    // Oniguruma's ^ and $ are always those of lines.
    const uint32_t syntax = stage.literal ? uint32_t{PCRE2_LITERAL}
                                          : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    int error = 0;
    PCRE2_SIZE error_at = 0;
    Compiled entry;
    entry.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern->data()), pattern->size(),
                                   syntax | PCRE2_UTF, &error, &error_at, context.get()));
    if (entry.code == nullptr) {
      return fail("pre-tokenizer pattern {} cannot be used: {} (at byte {} of {})", shown,
                  pcre2_message(error), error_at, quote(*pattern, 200));
    }
    // Without a JIT compiler the interpreter does the same, slower.
    (void)pcre2_jit_compile(entry.code.get(), PCRE2_JIT_COMPLETE);
    entry.behavior = stage.behavior;
    entry.invert = stage.invert;
    entry.pattern = shown;
    compiled->stages_.push_back(std::move(entry));
  }
  return std::shared_ptr<const RegexStages>(std::move(compiled));
}

Status RegexStages::split(std::string_view text, size_t offset, WordSink& sink) const {
  const uint64_t limit = kSplitNanosecondsMin + kSplitNanosecondsPerByte * text.size();
  Run run{.text = text, .offset = offset, .sink = sink, .deadline = thread_nanoseconds() + limit};
  run.context.reset(pcre2_match_context_create(nullptr));
  run.jit_stack.reset(pcre2_jit_stack_create(kJitStackBytesMin, kJitStackBytesMax, nullptr));
  run.match.reset(pcre2_match_data_create(1, nullptr));
  if (run.context == nullptr || run.match == nullptr) return fail("no memory to split text");
  pcre2_set_match_limit(run.context.get(), kMatchStepsMax);
  pcre2_set_heap_limit(run.context.get(), kHeapKilobytesMax);
  if (run.jit_stack != nullptr) {
    pcre2_jit_stack_assign(run.context.get(), nullptr, run.jit_stack.get());
  }
  return split_stage(run, 0, 0, text.size());
}

namespace {

struct Part {
  size_t begin, end;
  bool match;
};

// Adds the stretch to parts, joined with its neighbour where the behaviour says so. Stretches come
// in order, without holes.
void add_part(std::vector<Part>& parts, Part part, SplitBehavior behavior) {
  if (part.begin == part.end) return;
  const bool follows = !parts.empty();
  const bool joins =
      follows &&
      ((behavior == SplitBehavior::kContiguous && parts.back().match == part.match) ||
       (behavior == SplitBehavior::kMergedWithPrevious && part.match && !parts.back().match) ||
       (behavior == SplitBehavior::kMergedWithNext && !part.match && parts.back().match));
  if (joins) {
    parts.back().end = part.end;
    // What has taken in a match, or been taken in by one, takes no further one.
    parts.back().match = behavior == SplitBehavior::kContiguous
                             ? part.match
                             : behavior == SplitBehavior::kMergedWithPrevious;
    return;
  }
  if (behavior != SplitBehavior::kRemoved || !part.match) parts.push_back(part);
}

}  // namespace

Status RegexStages::split_stage(Run& run, size_t stage, size_t begin, size_t end) const {
  if (stage == stages_.size()) {
    if (begin < end) run.sink.word(run.offset + begin, run.offset + end);
    return {};
  }
  const Compiled& compiled = stages_[stage];
  const std::string_view piece = run.text.substr(begin, end - begin);
  std::vector<Part> parts;
  size_t done = 0;  // everything before is in parts
  size_t at = 0;
  while (at <= piece.size()) {
    if (run.matches_until_clock-- == 0) {
      run.matches_until_clock = kMatchesPerClockReading;
      if (thread_nanoseconds() > run.deadline) {
        return fail("pre-tokenizer pattern {} is too slow on this text of {} bytes",
                    compiled.pattern, run.text.size());
      }
    }
    // Anchored, and moved on by hand: a search that tries every start itself is bounded by no limit
    // of PCRE2's.
    const int found =
        pcre2_match(compiled.code.get(), reinterpret_cast<PCRE2_SPTR>(piece.data()), piece.size(),
                    at, PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, run.match.get(), run.context.get());
    if (found == PCRE2_ERROR_NOMATCH) {
      if (at == piece.size()) break;
      at += decode_code_point(piece, at).bytes;
      continue;
    }
    if (found < 0) {
      return fail("pre-tokenizer pattern {} cannot be matched on this text: {}", compiled.pattern,
                  pcre2_message(found));
    }
    const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(run.match.get());
    // \K can move the start behind the end, or before where this match began.
    const size_t match_begin = std::max<size_t>(ends[0], done);
    const size_t match_end = std::max<size_t>(ends[1], match_begin);
    if (match_begin > done) {
      add_part(parts, {done, match_begin, compiled.invert}, compiled.behavior);
    }
    add_part(parts, {match_begin, match_end, !compiled.invert}, compiled.behavior);
    done = match_end;
    at = match_end;
    if (match_end == match_begin) {  // an empty match is a border and no more
      if (at == piece.size()) break;
      at += decode_code_point(piece, at).bytes;
    }
  }
  add_part(parts, {done, piece.size(), compiled.invert}, compiled.behavior);
  for (const Part& part : parts) {
    HADAL_TRY_VOID(split_stage(run, stage + 1, begin + part.begin, begin + part.end));
  }
  return {};
}

}  // namespace hadal
