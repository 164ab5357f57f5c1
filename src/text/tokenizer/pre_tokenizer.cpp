#include "text/tokenizer/pre_tokenizer.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/tokenizer/pre_tokenizer_regex.h"
#include "text/tokenizer/pre_tokenizer_rules.h"
#include "text/unicode.h"

namespace hadal {

struct KnownPreTokenizer {
  std::string_view name;
  SplitFunction split;
  std::vector<std::string> patterns;
  bool ignore_merges = false;
  bool adds_bos = false;
  std::vector<std::string_view> aliases;  // other names in GGUF files for the same patterns
};

namespace {

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string llama3_pattern(std::string_view numbers) {
  return fmt::format(
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      numbers);
}

// What the names stand for is public: the tokenizer.json files of the models, and llama.cpp's table
// of names.
const std::vector<KnownPreTokenizer>& known_table() {
  static const std::vector<KnownPreTokenizer> table = {
      {.name = "deepseek-v3",
       .split = split_deepseek_v3,
       .patterns =
           {R"(\p{N}{1,3})", "[一-龥\u3040-ゟ゠-ヿ]+",
            R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
            R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
       .aliases = {"hunyuan-dense", "joyai-llm"}},
      {.name = "deepseek-llm",
       .split = split_deepseek_llm,
       .patterns = {R"([\r\n])", deepseek_llm_letters_pattern(), "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
                    R"(\s+$)", "[一-龥ࠀ-一가-\ud7ff]+", R"(\p{N}+)"}},
      {.name = "deepseek-coder",
       .split = split_deepseek_coder,
       .patterns = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-\ud7ff]+",
                    R"(\p{N})"}},
      {.name = "qwen2",
       .split = split_qwen2,
       .patterns = {llama3_pattern(R"(\p{N})")},
       .aliases = {"deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2",
                   "kormo", "f2llmv2"}},
      {.name = "qwen35",
       .split = split_qwen35,
       .patterns = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
                    R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {.name = "llama-bpe",
       .split = split_llama3,
       .patterns = {llama3_pattern(R"(\p{N}{1,3})")},
       .ignore_merges = true,
       .adds_bos = true,
       .aliases = {"llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
                   "jina-v5-nano"}},
      {.name = "llama3-plain",  // the same patterns for models that merge whole words, too, and
                                // begin without BOS
       .split = split_llama3,
       .patterns = {llama3_pattern(R"(\p{N}{1,3})")},
       .aliases = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}},
      {.name = "smollm",
       .split = split_smollm,
       .patterns = {R"(\p{N})", kGpt2Pattern},
       .aliases = {"starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
                   "mellum2"}},
      {.name = "gpt-2",
       .split = split_gpt2,
       .patterns = {kGpt2Pattern},
       .aliases = {"gpt2", "phi-2", "mpt", "olmo", "jais", "jina-es", "jina-de", "jina-v2-es",
                   "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe", "gigachat", "a.x-4.0",
                   "mellum", "modern-bert", "exaone4", "trillion", "granite-docling"}},
      {.name = "default",
       .split = split_default,
       .patterns = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"},
       .aliases = {""}},
  };
  return table;
}

// Two spellings of one pattern: a file may hold a line break where another holds \r or \n.
std::string canonical(std::string_view pattern) {
  std::string result;
  for (const char c : pattern) {
    if (c == '\r') {
      result += "\\r";
    } else if (c == '\n') {
      result += "\\n";
    } else {
      result += c;
    }
  }
  return result;
}

bool same_patterns(const KnownPreTokenizer& known, const std::vector<SplitStage>& stages) {
  if (known.patterns.size() != stages.size()) return false;
  for (size_t i = 0; i < stages.size(); ++i) {
    const SplitStage& stage = stages[i];
    if (stage.behavior != SplitBehavior::kIsolated || stage.invert || stage.literal) return false;
    if (canonical(stage.pattern) != known.patterns[i]) return false;
  }
  return true;
}

const KnownPreTokenizer* find_known(std::string_view name) {
  for (const KnownPreTokenizer& known : known_table()) {
    if (known.name == name) return &known;
    for (const std::string_view alias : known.aliases) {
      if (alias == name) return &known;
    }
  }
  return nullptr;
}

}  // namespace

Result<PreTokenizer> PreTokenizer::named(std::string_view name) {
  PreTokenizer result;
  result.known_ = find_known(name);
  if (result.known_ == nullptr) {
    return fail("the pre-tokenizer {} is not known; known are {}", quote(name),
                fmt::join(known_pre_tokenizers(), ", "));
  }
  return result;
}

Result<PreTokenizer> PreTokenizer::from_stages(std::vector<SplitStage> stages) {
  if (stages.size() > kStagesMax) {
    return fail("the pre-tokenizer has {} stages, more than the limit of {}", stages.size(),
                kStagesMax);
  }
  PreTokenizer result;
  for (const KnownPreTokenizer& known : known_table()) {
    if (!same_patterns(known, stages)) continue;
    result.known_ = &known;
    return result;
  }
  if (!stages.empty()) {
    HADAL_TRY(result.stages_, RegexStages::compile(stages));
  }
  result.drops_text_ = std::ranges::any_of(
      stages, [](const SplitStage& stage) { return stage.behavior == SplitBehavior::kRemoved; });
  return result;
}

Status PreTokenizer::split(std::string_view text, WordSink& sink) const {
  if (known_ != nullptr) {
    known_->split(text, sink);
    return {};
  }
  if (stages_ == nullptr) {
    if (!text.empty()) sink.word(0, text.size());
    return {};
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t valid = valid_utf8_prefix(text.substr(begin));
    if (valid > 0) {
      HADAL_TRY_VOID(stages_->split(text.substr(begin, valid), begin, sink));
    }
    size_t end = begin + valid;
    while (end < text.size()) {
      const DecodedCodePoint decoded = decode_code_point(text, end);
      if (decoded.value != kInvalidCodePoint) break;
      end += decoded.bytes;
    }
    if (end > begin + valid) sink.word(begin + valid, end);
    begin = end;
  }
  return {};
}

std::string_view PreTokenizer::name() const {
  return known_ == nullptr ? "" : known_->name;
}
bool PreTokenizer::default_ignore_merges() const {
  return known_ != nullptr && known_->ignore_merges;
}
bool PreTokenizer::default_adds_bos() const {
  return known_ != nullptr && known_->adds_bos;
}

std::vector<std::string> known_patterns(std::string_view name) {
  const KnownPreTokenizer* const known = find_known(name);
  return known == nullptr ? std::vector<std::string>() : known->patterns;
}

std::vector<std::string_view> known_pre_tokenizers() {
  std::vector<std::string_view> names;
  for (const KnownPreTokenizer& known : known_table()) names.push_back(known.name);
  return names;
}

}  // namespace hadal
