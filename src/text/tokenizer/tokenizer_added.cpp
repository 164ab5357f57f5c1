#include "text/tokenizer/tokenizer_added.h"

#include <algorithm>

#include "text/unicode.h"

namespace hadal {
namespace {

// \w as Hugging Face's tokenizers mean it here.
bool is_word_character(uint32_t code_point) {
  const uint8_t classes = CodePointClasses::table().of(code_point);
  return code_point == '_' ||
         (classes != kInvalidClass && (classes & (kLetterClass | kMarkClass | kNumberClass)) != 0);
}

bool is_space(uint32_t code_point) {
  return CodePointClasses::table().of(code_point) == kSpaceClass;
}

// The character that ends before text[at]; at > 0.
DecodedCodePoint character_before(std::string_view text, size_t at) {
  const size_t earliest = at < 4 ? 0 : at - 4;
  for (size_t begin = at - 1;; --begin) {
    const DecodedCodePoint decoded = decode_code_point(text, begin);
    if (decoded.value != kInvalidCodePoint && begin + decoded.bytes == at) return decoded;
    if (begin == earliest) return {kInvalidCodePoint, 1};
  }
}

bool touches_word(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && is_word_character(character_before(text, begin).value)) ||
         (end < text.size() && is_word_character(decode_code_point(text, end).value));
}

// "<｜...｜>" (DeepSeek's, with full-width bars) and "<|...|>".
bool is_mark(std::string_view text) {
  return (text.starts_with("<｜") && text.ends_with("｜>")) ||
         (text.starts_with("<|") && text.ends_with("|>"));
}

}  // namespace

Result<AddedTokens> AddedTokens::create(const VocabularySource& source,
                                        const BpeVocabulary& vocabulary) {
  AddedTokens added;
  std::vector<const AddedTokenRule*> rules(vocabulary.size(), nullptr);
  for (const AddedTokenRule& rule : source.added_rules) {
    if (!vocabulary.has(rule.id)) {
      return fail("{}: added token {} is outside the vocabulary of {}", source.file, rule.id,
                  vocabulary.size());
    }
    rules[static_cast<size_t>(rule.id)] = &rule;
  }
  static constexpr AddedTokenRule kPlain;
  for (TokenId id = 0; id < static_cast<TokenId>(vocabulary.size()); ++id) {
    const TokenKind kind = vocabulary.kind(id);
    const bool control = kind == TokenKind::kControl || kind == TokenKind::kUnknown;
    if (!control && kind != TokenKind::kUserDefined) continue;
    const std::string_view text = vocabulary.spelling(id);
    if (text.empty()) continue;
    if (text.size() > kBytesMax) {
      return fail("{}: added token {} has {} bytes, more than the limit of {}", source.file, id,
                  text.size(), kBytesMax);
    }
    const AddedTokenRule* const given = rules[static_cast<size_t>(id)];
    const AddedTokenRule& rule = given == nullptr ? kPlain : *given;
    added.entries_.push_back({.text = std::string(text),
                              .id = id,
                              .control = control,
                              .mark = is_mark(text),
                              .strip_left = rule.strip_left,
                              .strip_right = rule.strip_right,
                              .single_word = rule.single_word});
  }
  std::sort(added.entries_.begin(), added.entries_.end(),
            [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (uint32_t i = 0; i < added.entries_.size(); ++i) {
    auto& [first, last] = added.by_first_byte_[static_cast<uint8_t>(added.entries_[i].text[0])];
    if (first == last) first = i;
    last = i + 1;
  }
  return added;
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, size_t from,
                                                    const TextTrust& trust) const {
  const std::span<const ByteRange> special = trust.special;
  if (entries_.empty()) return std::nullopt;
  // The first range that is not over at `from`.
  size_t range = static_cast<size_t>(
      std::partition_point(special.begin(), special.end(),
                           [from](const ByteRange& r) { return r.end <= from; }) -
      special.begin());
  for (size_t at = from; at < text.size(); ++at) {
    const auto& [first, last] = by_first_byte_[static_cast<uint8_t>(text[at])];
    if (first == last) continue;
    while (range < special.size() && special[range].end <= at) ++range;
    const bool in_special = range < special.size() && special[range].begin <= at;
    const Entry* const entry =
        longest_at(text, at, in_special ? special[range].end : 0, trust.conversation);
    if (entry == nullptr) continue;
    Match match{at, at + entry->text.size(), entry->id};
    if (entry->single_word && touches_word(text, match.begin, match.end)) {
      at = match.end - 1;  // the place is taken, by nothing
      continue;
    }
    if (entry->strip_left) {
      while (match.begin > from) {
        const DecodedCodePoint before = character_before(text, match.begin);
        if (before.bytes > match.begin - from || !is_space(before.value)) break;
        match.begin -= before.bytes;
      }
    }
    if (entry->strip_right) {
      while (match.end < text.size()) {
        const DecodedCodePoint behind = decode_code_point(text, match.end);
        if (!is_space(behind.value)) break;
        match.end += behind.bytes;
      }
    }
    return match;
  }
  return std::nullopt;
}

// The entries that begin like the text at `at` are neighbours; each further byte narrows their
// range.
const AddedTokens::Entry* AddedTokens::longest_at(std::string_view text, size_t at,
                                                  size_t special_end, bool conversation) const {
  auto [low, high] = by_first_byte_[static_cast<uint8_t>(text[at])];
  const Entry* longest = nullptr;
  size_t depth = 1;  // bytes that all of [low, high) share with the text
  while (low < high) {
    if (entries_[low].text.size() == depth) {
      const Entry& entry = entries_[low];
      const bool bound = entry.control || (conversation && entry.mark);
      if (!bound || at + depth <= special_end) longest = &entry;
      ++low;
    }
    if (at + depth == text.size()) break;
    const uint8_t byte = static_cast<uint8_t>(text[at + depth]);
    const auto begin = entries_.begin();
    const auto less = [depth](const Entry& entry, uint8_t value) {
      return static_cast<uint8_t>(entry.text[depth]) < value;
    };
    const auto greater = [depth](uint8_t value, const Entry& entry) {
      return value < static_cast<uint8_t>(entry.text[depth]);
    };
    const auto first = std::lower_bound(begin + low, begin + high, byte, less);
    const auto last = std::upper_bound(first, begin + high, byte, greater);
    low = static_cast<uint32_t>(first - begin);
    high = static_cast<uint32_t>(last - begin);
    ++depth;
  }
  return longest;
}

}  // namespace hadal
