#include "text/tokenizer_json_text.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "text/unicode.h"

namespace hadal {
namespace {

// Walks over the text; every error says where.
class Cursor {
 public:
  Cursor(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  void skip_space() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
  }
  bool take(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool at_end() {
    skip_space();
    return at_ == text_.size();
  }
  char peek() {
    skip_space();
    return at_ == text_.size() ? '\0' : text_[at_];
  }

  tl::unexpected<Error> error(std::string_view expected) const {
    return fail("{}: is not valid JSON of a tokenizer: expected {} at byte {} of {}", file_,
                expected, at_, text_.size());
  }

  // The raw text between the quotes, and whether it has escapes.
  struct RawString {
    std::string_view text;
    bool escaped = false;
  };
  Result<RawString> raw_string() {
    if (!take('"')) return error("a string");
    const size_t begin = at_;
    bool escaped = false;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return RawString{text_.substr(begin, at_ - 1 - begin), escaped};
      }
      if (static_cast<unsigned char>(c) < 0x20) return error("no control character in a string");
      if (c == '\\') {
        escaped = true;
        ++at_;
      }
      ++at_;
    }
    return error("the end of a string");
  }

  Result<uint32_t> integer() {
    skip_space();
    uint32_t value = 0;
    const char* const begin = text_.data() + at_;
    const auto [end, problem] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (problem != std::errc()) return error("a token id");
    at_ += static_cast<size_t>(end - begin);
    return value;
  }

  // Any value, skipped by its brackets.
  Result<std::string_view> slice() {
    skip_space();
    const size_t begin = at_;
    uint32_t depth = 0;
    do {
      const char c = peek();
      if (c == '"') {
        HADAL_TRY(const RawString skipped, raw_string());
        (void)skipped;
      } else if (c == '{' || c == '[') {
        if (++depth > kTokenizerJsonDepthMax) {
          return fail("{}: is nested deeper than {} levels, which is the limit", file_,
                      kTokenizerJsonDepthMax);
        }
        ++at_;
      } else if (c == '}' || c == ']') {
        if (depth == 0) return error("a value");
        --depth;
        ++at_;
      } else if (c == '\0') {
        return error("a value");
      } else if (depth > 0 && (c == ',' || c == ':')) {
        ++at_;
      } else {
        const size_t word = at_;
        while (at_ < text_.size() &&
               std::string_view(" \t\r\n,:{}[]\"").find(text_[at_]) == std::string_view::npos) {
          ++at_;
        }
        if (at_ == word) return error("a value");
      }
    } while (depth > 0);
    return text_.substr(begin, at_ - begin);
  }

 private:
  std::string_view text_, file_;
  size_t at_ = 0;
};

// Four hexadecimal digits; -1 if they are not.
int32_t hexadecimal(std::string_view digits) {
  if (digits.size() < 4) return -1;
  uint32_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + 4, value, 16);
  return problem == std::errc() && end == digits.data() + 4 ? static_cast<int32_t>(value) : -1;
}

// Resolves the escapes of a JSON string; false where one is not JSON's, or half a surrogate pair.
bool unescape(std::string_view raw, std::string& text) {
  constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
  text.clear();
  for (size_t at = 0; at < raw.size(); ++at) {
    if (raw[at] != '\\') {
      text += raw[at];
      continue;
    }
    if (++at == raw.size()) return false;
    if (raw[at] != 'u') {
      const size_t name = kNames.find(raw[at]);
      if (name == std::string_view::npos) return false;
      text += kMeanings[name];
      continue;
    }
    int32_t code_point = hexadecimal(raw.substr(at + 1));
    at += 4;
    if (code_point < 0 || (code_point >= 0xdc00 && code_point <= 0xdfff)) return false;
    if (code_point >= 0xd800 && code_point <= 0xdbff) {
      if (raw.substr(at + 1, 2) != "\\u") return false;
      const int32_t low = hexadecimal(raw.substr(at + 3));
      if (low < 0xdc00 || low > 0xdfff) return false;
      code_point = 0x10000 + ((code_point - 0xd800) << 10) + (low - 0xdc00);
      at += 6;
    }
    append_code_point(text, static_cast<uint32_t>(code_point));
  }
  return true;
}

Result<std::string_view> token_text(Cursor& cursor, VocabularySource& source) {
  HADAL_TRY(const Cursor::RawString raw, cursor.raw_string());
  if (!raw.escaped) return raw.text;
  std::string& text = source.owned.emplace_back();
  if (!unescape(raw.text, text)) return cursor.error("a valid escape before this string's end");
  return std::string_view(text);
}

}  // namespace

Result<std::vector<std::pair<std::string, std::string_view>>> json_members(std::string_view text,
                                                                           std::string_view file) {
  Cursor cursor(text, file);
  std::vector<std::pair<std::string, std::string_view>> members;
  std::set<std::string> keys;
  if (!cursor.take('{')) return cursor.error("an object");
  while (!cursor.take('}')) {
    if (!members.empty() && !cursor.take(',')) return cursor.error("',' or '}'");
    HADAL_TRY(const Cursor::RawString raw, cursor.raw_string());
    std::string key;
    if (!unescape(raw.text, key)) return cursor.error("a valid escape before this key's end");
    if (!cursor.take(':')) return cursor.error("':'");
    HADAL_TRY(const std::string_view value, cursor.slice());
    if (!keys.insert(key).second) return fail("{}: the key '{}' is there twice", file, key);
    members.emplace_back(std::move(key), value);
  }
  if (!cursor.at_end()) return cursor.error("the end");
  return members;
}

Status read_vocabulary_object(std::string_view text, VocabularySource& source) {
  constexpr size_t kHolesMin = 1 << 16;  // a small vocabulary may have its added tokens far off
  Cursor cursor(text, source.file);
  size_t tokens = 0;
  std::vector<std::string_view>& by_id = source.tokens;
  if (!cursor.take('{')) return cursor.error("an object of token ids");
  while (!cursor.take('}')) {
    if (tokens > 0 && !cursor.take(',')) return cursor.error("',' or '}'");
    HADAL_TRY(const std::string_view token, token_text(cursor, source));
    if (!cursor.take(':')) return cursor.error("':'");
    HADAL_TRY(const uint32_t id, cursor.integer());
    if (token.empty()) return fail("{}: token {} is empty", source.file, id);
    if (id >= VocabularySource::kTokensMax || id > 2 * tokens + text.size() / 4 + kHolesMin) {
      return fail("{}: the token id {} is far beyond what a vocabulary of this size can have",
                  source.file, id);
    }
    if (id >= by_id.size()) by_id.resize(std::max<size_t>(id + 1, by_id.size() + by_id.size() / 2));
    if (!by_id[id].empty()) {
      return fail("{}: the tokens '{}' and '{}' both have the id {}", source.file,
                  replace_invalid_utf8(by_id[id]), replace_invalid_utf8(token), id);
    }
    by_id[id] = token;
    ++tokens;
  }
  if (!cursor.at_end()) return cursor.error("the end");
  while (!by_id.empty() && by_id.back().empty()) by_id.pop_back();
  return {};
}

Status read_merges_list(std::string_view text, VocabularySource& source) {
  Cursor cursor(text, source.file);
  if (!cursor.take('[')) return cursor.error("a list of merges");
  while (!cursor.take(']')) {
    if (!source.merges.empty() && !cursor.take(',')) return cursor.error("',' or ']'");
    if (source.merges.size() == VocabularySource::kMergesMax) {
      return fail("{}: more than {} merges", source.file, VocabularySource::kMergesMax);
    }
    if (cursor.take('[')) {
      HADAL_TRY(const std::string_view left, token_text(cursor, source));
      if (!cursor.take(',')) return cursor.error("','");
      HADAL_TRY(const std::string_view right, token_text(cursor, source));
      if (!cursor.take(']')) return cursor.error("']'");
      source.merges.emplace_back(left, right);
      continue;
    }
    HADAL_TRY(const std::string_view both, token_text(cursor, source));
    const size_t space = both.find(' ');
    if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos) {
      return fail("{}: merge {} is '{}'; expected two tokens with one space between them",
                  source.file, source.merges.size(), replace_invalid_utf8(both.substr(0, 100)));
    }
    source.merges.emplace_back(both.substr(0, space), both.substr(space + 1));
  }
  if (!cursor.at_end()) return cursor.error("the end");
  return {};
}

Result<nlohmann::json> parse_json(std::string_view text, std::string_view file) {
  Cursor cursor(text, file);
  HADAL_TRY(const std::string_view value, cursor.slice());
  if (!cursor.at_end()) return cursor.error("the end");
  nlohmann::json parsed = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return fail("{}: is not valid JSON", file);
  return parsed;
}

}  // namespace hadal
