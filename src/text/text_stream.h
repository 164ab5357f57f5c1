// Tokens become text for a reader, piece by piece: only whole UTF-8 characters leave, stop strings are held back until they
// are certain, and thinking (<think> ... </think>) is told apart from the answer, also when the prompt already opened it or
// the model never closes it. Whatever the split into tokens, the joined output is the same.
// One stream an answer; not shared between threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

struct TextStreamOptions {
  std::vector<std::string> stop;  // an answer ends before the first of these (in thinking too); empty strings are ignored
  bool thinking_open = false;     // the prompt ended inside <think>
  bool parse_thinking = true;     // false: tags are ordinary text
  std::string think_begin = "<think>", think_end = "</think>";
};

struct TextDelta {
  std::string thinking, answer;  // what became certain; each valid UTF-8 (bytes that can never be become U+FFFD)
};

class TextStream {
 public:
  explicit TextStream(TextStreamOptions options);

  // Adds the bytes of one token. After stopped() further bytes are ignored.
  TextDelta push(std::string_view bytes);
  // The end of generation: what was held back (a stop string's beginning, an unfinished character) is let go.
  TextDelta finish();

  bool stopped() const { return stopped_; }             // a stop string was met
  const std::string& stop_string() const { return stop_string_; }
  bool in_thinking() const { return in_thinking_; }

 private:
  TextStreamOptions options_;
  std::string held_;
  std::string stop_string_;
  bool stopped_ = false;
  bool in_thinking_ = false;
  bool seen_answer_text_ = false;
};

}  // namespace hadal
