#include "text/tokenizer/tokenizer_json_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "base/json.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace hadal {
namespace {

// What ends the plain part of a string: a quote, a backslash, a control character.
constexpr std::array<bool, 256> kEndsPlainText = [] {
  std::array<bool, 256> ends{};
  for (size_t byte = 0; byte < 0x20; ++byte) ends[byte] = true;
  ends['"'] = ends['\\'] = true;
  return ends;
}();

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

}  // namespace

tl::unexpected<Error> JsonCursor::error(std::string_view expected) const {
  return fail("{}: is not valid JSON of a tokenizer: expected {} at byte {} of {}", file_, expected,
              at_, text_.size());
}

Result<JsonCursor::RawString> JsonCursor::raw_string() {
  if (!take('"')) return error("a string");
  const size_t begin = at_;
  bool escaped = false;
  while (at_ < text_.size()) {
    const unsigned char byte = static_cast<unsigned char>(text_[at_]);
    if (!kEndsPlainText[byte]) {
      ++at_;
    } else if (byte == '"') {
      ++at_;
      return RawString{text_.substr(begin, at_ - 1 - begin), escaped};
    } else if (byte == '\\') {
      escaped = true;
      at_ += 2;
    } else {
      return error("no control character in a string");
    }
  }
  at_ = text_.size();
  return error("the end of a string");
}

Result<std::string> JsonCursor::string() {
  HADAL_TRY(const RawString raw, raw_string());
  if (!raw.escaped) return std::string(raw.text);
  std::string text;
  if (!unescape(raw.text, text)) return error("a valid escape before this string's end");
  return text;
}

Result<uint32_t> JsonCursor::unsigned_integer() {
  peek();
  uint32_t value = 0;
  const char* const begin = text_.data() + at_;
  const auto [end, problem] = std::from_chars(begin, text_.data() + text_.size(), value);
  if (problem != std::errc()) return error("a token id");
  at_ += static_cast<size_t>(end - begin);
  return value;
}

Result<std::string_view> JsonCursor::slice() {
  peek();
  const size_t begin = at_;
  uint32_t depth = 0;
  do {
    const char c = peek();
    if (c == '"') {
      const auto skipped = raw_string();
      if (!skipped) return forward_error(skipped);
    } else if (c == '{' || c == '[') {
      if (++depth > kDepthMax) {
        return fail("{}: is nested deeper than {} levels, which is the limit", file_, kDepthMax);
      }
      ++at_;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return error("a value");
      --depth;
      ++at_;
    } else if (depth > 0 && (c == ',' || c == ':')) {
      ++at_;
    } else {
      const size_t word = at_;
      while (at_ < text_.size() && !is_space(text_[at_]) &&
             std::string_view(",:{}[]\"").find(text_[at_]) == std::string_view::npos) {
        ++at_;
      }
      if (at_ == word) return error("a value");
    }
  } while (depth > 0);
  return text_.substr(begin, at_ - begin);
}

Status JsonCursor::members(const std::function<Status(const std::string& key)>& handler) {
  std::set<std::string> keys;
  if (!take('{')) return error("an object");
  while (!take('}')) {
    if (!keys.empty() && !take(',')) return error("',' or '}'");
    HADAL_TRY(const std::string key, string());
    if (!take(':')) return error("':'");
    if (!keys.insert(key).second) return fail("{}: the key {} is there twice", file_, quote(key));
    HADAL_TRY_VOID(handler(key));
  }
  return {};
}

Status JsonCursor::end() {
  peek();
  if (at_ < text_.size()) return error("the end");
  return {};
}

namespace {

Result<std::string_view> token_text(JsonCursor& cursor, VocabularySource& source) {
  HADAL_TRY(const JsonCursor::RawString raw, cursor.raw_string());
  if (!raw.escaped) return raw.text;
  std::string& text = source.owned.emplace_back();
  if (!unescape(raw.text, text)) return cursor.error("a valid escape before this string's end");
  return std::string_view(text);
}

}  // namespace

Status read_vocabulary_object(JsonCursor& cursor, VocabularySource& source) {
  constexpr size_t kHolesMax = 1 << 16;  // more ids than tokens
  std::vector<std::pair<uint32_t, std::string_view>> entries;
  uint32_t largest = 0;
  if (!cursor.take('{')) return cursor.error("an object of token ids");
  while (!cursor.take('}')) {
    if (!entries.empty() && !cursor.take(',')) return cursor.error("',' or '}'");
    HADAL_TRY(const std::string_view token, token_text(cursor, source));
    if (!cursor.take(':')) return cursor.error("':'");
    HADAL_TRY(const uint32_t id, cursor.unsigned_integer());
    if (token.empty()) return fail("{}: token {} is empty", source.file, id);
    if (entries.size() == VocabularySource::kTokensMax) {
      return fail("{}: more than {} tokens", source.file, VocabularySource::kTokensMax);
    }
    largest = std::max(largest, id);
    entries.emplace_back(id, token);
  }
  if (entries.empty()) return {};
  if (largest > entries.size() + kHolesMax) {
    return fail("{}: the token id {} is far beyond what a vocabulary of {} tokens can have",
                source.file, largest, entries.size());
  }
  source.tokens.assign(size_t{largest} + 1, {});
  for (const auto& [id, token] : entries) {
    if (!source.tokens[id].empty()) {
      return fail("{}: the tokens {} and {} both have the id {}", source.file,
                  quote(source.tokens[id]), quote(token), id);
    }
    source.tokens[id] = token;
  }
  return {};
}

Status read_merges_list(JsonCursor& cursor, VocabularySource& source) {
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
      return fail("{}: merge {} is {}; expected two tokens with one space between them",
                  source.file, source.merges.size(), quote(both));
    }
    source.merges.emplace_back(both.substr(0, space), both.substr(space + 1));
  }
  return {};
}

Result<nlohmann::json> parse_json(std::string_view text, std::string_view file) {
  JsonCursor cursor(text, file);
  HADAL_TRY(const std::string_view value, cursor.slice());
  HADAL_TRY_VOID(cursor.end());
  nlohmann::json parsed = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return fail("{}: is not valid JSON", file);
  return parsed;
}

}  // namespace hadal
