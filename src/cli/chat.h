// A conversation in the terminal: what `hadal run` does when nobody gave it a prompt.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/command_line.h"
#include "cli/line_editor.h"
#include "engine/generation.h"

namespace hadal {

struct RunOptions {
  ModelOptions model;
  std::string prompt;
  std::optional<std::string> system;
  ChatOptions chat;
  GenerationOptions generation;
  bool raw = false;  // no template
  bool hide_thinking = false;
  bool verbose = false;
};

// Streams one answer: thinking dimmed on standard error, the answer on standard output; statistics
// with --verbose.
Result<Answer> stream_answer(CommandContext& context, Generator& generator, const Prompt& prompt,
                             const RunOptions& options);

// Where /save keeps the conversation of that name; nullopt: it is no name for a file (empty, longer
// than kChatNameBytesMax, with a slash or control characters, or hidden).
inline constexpr size_t kChatNameBytesMax = 128;
std::optional<std::filesystem::path> chat_path(const std::filesystem::path& home,
                                               const std::string& name);

class Chat {
 public:
  Chat(CommandContext& context, Generator& generator, RunOptions options);
  Status run();  // until /bye or the end of input

 private:
  std::optional<std::string> read_message();  // nullopt: the person leaves
  void answer();                              // to the messages as they stand
  bool command(const std::string& line);      // false: leave
  void set(const std::string& name, const std::string& value);
  void show() const;
  void save(const std::string& name);
  void load(const std::string& name);
  void regenerate();
  void clear();
  std::optional<std::filesystem::path> chat_file(const std::string& name) const;  // says why not

  CommandContext& context_;
  Generator& generator_;
  RunOptions options_;
  nlohmann::json messages_ = nlohmann::json::array();
  LineEditor editor_;
};

}  // namespace hadal
