// One line from the person at the terminal: arrow keys, history across sessions, Chinese input
// (libedit).
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace hadal {

enum class LineEnd : uint8_t { kLine, kInterrupted, kEndOfInput };

struct Line {
  LineEnd end = LineEnd::kLine;
  std::string text;  // without the newline
};

class LineEditor {
 public:
  // history_file is read now.
  explicit LineEditor(std::filesystem::path history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  Line read(const char* prompt);
  void remember(const std::string& line);  // for the arrow keys
  void save_history();  // rewrites the file; one that cannot be written is no error

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Ctrl-C while the object lives: remembered, not deadly. One at a time.
class InterruptCatcher {
 public:
  InterruptCatcher();
  ~InterruptCatcher();
  InterruptCatcher(const InterruptCatcher&) = delete;
  InterruptCatcher& operator=(const InterruptCatcher&) = delete;

  static bool interrupted();  // since the last reset()
  static void reset();
};

}  // namespace hadal
