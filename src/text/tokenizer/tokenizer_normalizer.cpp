#include "text/tokenizer/tokenizer_normalizer.h"

namespace hadal {
namespace {

tl::unexpected<Error> too_long() {
  return fail("the text grows beyond {} bytes when it is normalized", Normalizer::kBytesMax);
}

Result<std::string> replace_all(std::string_view text, std::string_view what,
                                std::string_view with) {
  std::string replaced;
  replaced.reserve(text.size());
  for (size_t at = 0;;) {
    const size_t found = text.find(what, at);
    replaced += text.substr(at, found == std::string_view::npos ? found : found - at);
    if (found == std::string_view::npos) return replaced;
    replaced += with;
    at = found + what.size();
    if (replaced.size() > Normalizer::kBytesMax) return too_long();
  }
}

Result<std::string> normalize_valid(std::string_view text, NormalForm form) {
  std::string normalized;
  for (size_t at = 0; at < text.size();) {
    const size_t valid = valid_utf8_prefix(text.substr(at));
    if (valid > 0) {
      HADAL_TRY(const std::string part, normalize(text.substr(at, valid), form));
      normalized += part;
      at += valid;
    }
    if (at < text.size()) {
      const uint8_t bytes = decode_code_point(text, at).bytes;
      normalized += text.substr(at, bytes);
      at += bytes;
    }
  }
  return normalized;
}

}  // namespace

Result<Normalizer> Normalizer::create(const VocabularySource& source) {
  if (source.normalizer.size() > kStepsMax) {
    return fail("{}: the normalizer has {} steps, more than the limit of {}", source.file,
                source.normalizer.size(), kStepsMax);
  }
  for (const NormalizerStep& step : source.normalizer) {
    if (step.kind == NormalizerStep::Kind::kReplace && step.what.empty()) {
      return fail("{}: the normalizer replaces an empty text", source.file);
    }
  }
  Normalizer normalizer;
  normalizer.prefix_ = source.space_prefix;
  normalizer.prefix_only_if_missing_ = source.prefix_only_if_missing;
  normalizer.steps_ = source.normalizer;
  return normalizer;
}

uint64_t Normalizer::bytes_to_one_max() const {
  // Three letters of three bytes become a Hangul syllable, a mathematical letter of four an ASCII
  // one; nothing shrinks more than eightfold.
  constexpr uint64_t kFormShrinks = 8;
  uint64_t most = 1;
  for (const NormalizerStep& step : steps_) {
    if (step.kind == NormalizerStep::Kind::kForm) most = kFormShrinks;
    const bool keeps = step.what == " " && step.with == "▁";
    if (step.kind == NormalizerStep::Kind::kReplace && !keeps) return 0;
  }
  return most;
}

Status Normalizer::append(std::string_view stretch, bool starts_text,
                          std::string& normalized) const {
  const bool prefix =
      (prefix_ == SpacePrefix::kEach || (prefix_ == SpacePrefix::kFirst && starts_text)) &&
      !(prefix_only_if_missing_ && stretch.starts_with(' '));
  std::string text;
  if (prefix) text = ' ';
  text += stretch;
  for (const NormalizerStep& step : steps_) {
    switch (step.kind) {
      case NormalizerStep::Kind::kPrepend:
        text.insert(0, step.what);
        break;
      case NormalizerStep::Kind::kReplace: {
        HADAL_TRY(text, replace_all(text, step.what, step.with));
        break;
      }
      case NormalizerStep::Kind::kForm: {
        HADAL_TRY(text, normalize_valid(text, step.form));
        break;
      }
    }
  }
  normalized += text;
  if (normalized.size() > kBytesMax) return too_long();
  return {};
}

}  // namespace hadal
