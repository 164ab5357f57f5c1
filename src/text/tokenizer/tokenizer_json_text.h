// A tokenizer.json is megabytes of two lists, vocabulary and merges, and a little structure around
// them. The lists are read in place, in one pass (a general JSON parser takes most of the time a
// model needs to open); everything else goes to the general parser, as slices of the text.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/tokenizer/tokenizer_source.h"

namespace hadal {

// Walks over JSON text; every error names the file and says where. Text and file name must outlive
// it.
class JsonCursor {
 public:
  static constexpr uint32_t kDepthMax = 64;

  JsonCursor(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  char peek() {  // the next character that is no white space; 0 at the end
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    return at_ == text_.size() ? '\0' : text_[at_];
  }
  bool take(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }

  struct RawString {
    std::string_view text;  // between the quotes
    bool escaped = false;
  };
  Result<RawString> raw_string();
  Result<std::string> string();  // escapes resolved
  Result<uint32_t> unsigned_integer();
  // Any value, whole; not checked beyond its brackets and quotes, which are at most kDepthMax deep.
  Result<std::string_view> slice();
  // The members of an object. The handler must take the value.
  Status members(const std::function<Status(const std::string& key)>& handler);
  Status end();  // error: there is more

  tl::unexpected<Error> error(std::string_view expected) const;

 private:
  static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
  std::string_view text_, file_;
  size_t at_ = 0;
};

// {"token": id, ...} into source.tokens. Strings without escapes are views into the text, others
// are owned by the source. Errors: not of this form, an id given twice, ids with more holes than
// tokens.
Status read_vocabulary_object(JsonCursor& cursor, VocabularySource& source);

// ["a b", ...] or [["a", "b"], ...] into source.merges; ownership as above.
Status read_merges_list(JsonCursor& cursor, VocabularySource& source);

// The whole value by the general parser, after a check of its depth.
Result<nlohmann::json> parse_json(std::string_view text, std::string_view file);

}  // namespace hadal
