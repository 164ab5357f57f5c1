// Tokens become text for a reader, piece by piece: only whole UTF-8 characters leave, stop strings
// are held back until they are certain, and thinking (<think> ... </think>) is told apart from the
// answer, also when the prompt already opened it or the model never closes it. Whatever the split
// into tokens, the joined output is the same. One stream an answer; not shared between threads.
//
// What is decided, in terms of the whole text (so that no split can change it):
// - Thinking begins with the think_begin tag if nothing but white space stands before it; that
// white space goes with the tag.
//   Anywhere later the tag is text. With thinking_open the text starts inside thinking, and the
//   begin tag is text there.
// - Thinking ends with the first think_end. Its bytes are kept exactly as they are, line breaks
// next to the tags included.
//   Line breaks (\n, \r) right behind think_end are dropped: templates and models put one or two
//   there that are not the answer.
// - A stop string is met where it is complete first; what ends there and is longest counts. It is
// looked for in thinking and in
//   the answer, never across the border: think_end and the line breaks dropped behind it are part
//   of no stop string, unless the stop string ends where the tag ends or before (a stop string
//   "</think>" stops).
// - Bytes that are not UTF-8 become U+FFFD, one for each maximal subpart (Unicode 15, section 3.9),
// within their part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

struct TextStreamOptions {
  std::vector<std::string> stop;  // an answer ends before the first of these (in thinking too);
                                  // empty strings are ignored
  bool thinking_open = false;     // the prompt ended inside <think>
  bool parse_thinking = true;     // false: tags are ordinary text
  std::string think_begin = "<think>",
              think_end = "</think>";  // not empty, no white space around them
};

struct TextDelta {
  std::string thinking,
      answer;  // what became certain; each valid UTF-8 (bytes that can never be become U+FFFD)
};

class TextStream {
 public:
  explicit TextStream(TextStreamOptions options);

  // Adds the bytes of one token. After stopped() further bytes are ignored.
  TextDelta push(std::string_view bytes);
  // The end of generation: what was held back (a stop string's beginning, an unfinished character)
  // is let go.
  TextDelta finish();

  bool stopped() const { return stopped_; }  // a stop string was met
  const std::string& stop_string() const { return stop_string_; }
  bool in_thinking() const { return part_ == Part::kThinking; }

 private:
  enum class Part : uint8_t {
    kStart,  // white space and the beginning of think_begin, so far
    kThinking,
    kBetween,  // the line breaks behind think_end
    kAnswer,
  };
  // Finds one string in a stream of bytes (Knuth, Morris, Pratt).
  struct Matcher {
    explicit Matcher(std::string wanted);
    bool push(char byte);  // true: the wanted text ends with this byte
    std::string text;
    std::vector<size_t>
        fallback;        // by length matched: the longest proper prefix that is also a suffix
    size_t matched = 0;  // how many bytes of it the stream ends with
  };

  void take(char byte, TextDelta& delta);
  bool take_stop(char byte, TextDelta& delta);
  bool take_start();
  void change_part(Part part, TextDelta& delta);
  void let_go(size_t kept, TextDelta& delta);
  void finish_characters(TextDelta& delta);

  std::vector<Matcher> stops_;
  Matcher end_tag_;
  std::string begin_tag_;
  bool parse_thinking_;
  Part part_;
  std::string held_;          // of the part at hand: what a stop string or tag may still claim
  size_t leading_space_ = 0;  // of held_, at the start
  std::string unfinished_;    // the beginning of a character, no longer claimed by anything else
  std::string stop_string_;
  bool stopped_ = false;
};

}  // namespace hadal
