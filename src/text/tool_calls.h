// Tool calls in what a model writes: told apart from the text around them, piece by piece. A call
// is handed out when its section is complete; text that may become a section's opening is held back
// until it is certain. The forms, by their opening:
//   <｜tool▁calls▁begin｜>   DeepSeek V2.5, V3, R1 (name, then a fence of JSON) and V3.1 (JSON
//   alone) <｜DSML｜function_calls>  DeepSeek V3.2; <｜DSML｜tool_calls> V4: a parameter an element
//   <tool_call>             Qwen and whoever follows Hermes: one JSON object a section
// What does not parse stays text, byte for byte: nothing a model writes is lost, or an error.
// Joined, the output does not depend on how the text was cut. One stream an answer; not shared
// between threads. Takes the answer of a TextStream, whose UTF-8 is valid.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

struct ToolCall {
  std::string name;       // not empty
  std::string arguments;  // JSON, an object
  bool cut = false;       // the answer ended before it: the arguments are the object's beginning
};

struct ToolCallDelta {
  std::string text;
  std::vector<ToolCall> calls;
};

// What stands around a call's arguments where an answer is one call: special tokens among it as
// TokenTrie::mark() writes them.
struct CallFrame {
  std::string before, behind;
};

// In the form of this chat template (its source), with the arguments as a JSON object. nullopt: it
// has none, or one whose arguments are not JSON (DeepSeek V3.2's and V4's).
std::optional<CallFrame> call_frame(std::string_view chat_template, std::string_view name);

class ToolCallStream {
 public:
  static constexpr size_t kSectionBytesMax = 1 << 20;  // a longer one is text
  static constexpr size_t kCallsMax = 128;             // of an answer; what follows is text
  static constexpr size_t kDepthMax = 64;              // of JSON

  // Looks for the forms that this chat template (its source) mentions.
  explicit ToolCallStream(std::string_view chat_template);

  ToolCallDelta push(std::string_view text);
  ToolCallDelta finish();

  // Whether a token of this spelling is a mark of some form. It has to be among the text that the
  // stream is given even where the vocabulary has it as a control token, as GGUFs have DeepSeek's.
  static bool is_mark(std::string_view token);

  bool looks_for_calls() const { return !forms_.empty(); }
  size_t calls() const { return calls_; }

  struct Form;  // an opening, its closing, how what is between them is read

 private:
  bool find_opening(ToolCallDelta& delta);
  bool find_closing(ToolCallDelta& delta);
  void take_section(std::string_view section, std::string_view body, ToolCallDelta& delta);

  std::vector<const Form*> forms_;
  const Form* open_ = nullptr;  // the form whose section `held_` begins with
  std::string held_;
  size_t searched_ = 0;  // of held_, in a section: no closing begins before
  size_t calls_ = 0;
  bool after_call_ = false;  // white space is dropped until something else comes
};

}  // namespace hadal
