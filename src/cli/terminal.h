// What the person sees. The answer alone goes to standard output; everything else (notices,
// progress, thinking, statistics) goes to standard error. Colours only where the stream is a
// terminal and NO_COLOR allows them, moving lines only on a terminal that can move them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hadal {

// A model's words and a file's strings must not steer the terminal: control characters but newline
// and tab become U+FFFD, as does what is no UTF-8.
std::string without_controls(std::string_view text);

// Lines broken between words at `columns`, as a terminal shows them; a longer word stays whole.
std::string wrapped(std::string_view text, size_t columns);

struct TerminalOptions {
  bool color = true;
  bool moving_lines = true;  // false: TERM=dumb
};

class Terminal {
 public:
  explicit Terminal(TerminalOptions options);

  bool input_is_terminal() const { return input_is_terminal_; }
  bool output_is_terminal() const { return output_is_terminal_; }
  bool notices_are_terminal() const { return notices_are_terminal_; }
  uint32_t columns() const;  // of the terminal now (it may be resized); 80 where there is none

  void say(std::string_view line);                  // on standard error, with a newline; wrapped
  void warn(std::string_view line);                 // "hadal: warning: ...", without_controls
  void error(std::string_view message);             // "hadal: ...", without_controls
  std::string dimmed(std::string_view text) const;  // for standard error
  void notice(std::string_view text);               // standard error, no newline, flushed

  // One line on standard error that is rewritten in place. Work that is done within a moment
  // (kProgressDelay after the first call since the last clear_progress()) shows none.
  void progress(std::string_view what, double fraction);  // fraction in [0, 1]
  void clear_progress();

  static constexpr std::chrono::milliseconds kProgressDelay{200};

  // Standard output, unbuffered from the reader's view; without_controls on a terminal. After a
  // failed write all later ones are dropped; the first failure is kept for output_status().
  void write(std::string_view text);
  Status output_status();

 private:
  TerminalOptions options_;
  bool input_is_terminal_, output_is_terminal_, notices_are_terminal_;
  bool progress_shown_ = false, progress_begun_ = false;
  std::chrono::steady_clock::time_point progress_begin_;
  int write_error_ = 0;
};

// Words of running text that do not break across the terminal's right edge. Width counts as
// terminals do (Chinese two columns). Where output is no terminal, text passes unchanged.
class WrappingWriter {
 public:
  enum class Stream : uint8_t { kAnswer, kThinking };  // standard output, dimmed standard error

  WrappingWriter(Terminal& terminal, Stream stream);
  void write(std::string_view text);  // whole UTF-8 characters
  void finish();                      // lets the last word go, and ends the line if one is open

 private:
  void flush_word();
  void emit(std::string_view text);

  Terminal& terminal_;
  Stream stream_;
  bool wrap_;
  std::string word_;
  uint32_t column_ = 0;
};

}  // namespace hadal
