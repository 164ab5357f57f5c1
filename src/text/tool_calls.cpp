#include "text/tool_calls.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "text/grammar/token_trie.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kWhiteSpace = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhiteSpace) - first + 1);
}

// Brackets outside strings, which bound what a parser must hold.
bool nested_too_deep(std::string_view json) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > ToolCallStream::kDepthMax) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

std::optional<Json> parse(std::string_view json) {
  if (nested_too_deep(json)) return std::nullopt;
  Json value = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

std::string quoted(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A call whose arguments are JSON text; none unless that is an object.
std::optional<ToolCall> call_of(std::string_view name, std::string_view arguments) {
  const auto value = parse(arguments);
  if (name.empty() || !value || !value->is_object()) return std::nullopt;
  return ToolCall{std::string(name), std::string(arguments)};
}

// Reads one thing after another; each step moves on, or fails and leaves the rest unread.
struct Reader {
  std::string_view rest;

  void skip_space() {
    rest.remove_prefix(std::min(rest.find_first_not_of(kWhiteSpace), rest.size()));
  }
  bool take(std::string_view wanted) {
    if (!rest.starts_with(wanted)) return false;
    rest.remove_prefix(wanted.size());
    return true;
  }
  // What stands before `end`, which is taken too.
  std::optional<std::string_view> until(std::string_view end) {
    const size_t at = rest.find(end);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view before = rest.substr(0, at);
    rest.remove_prefix(at + end.size());
    return before;
  }
};

using Calls = std::optional<std::vector<ToolCall>>;

// <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```<｜tool▁call▁end｜>, or
// <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>ARGUMENTS<｜tool▁call▁end｜>
Calls read_deepseek(std::string_view body) {
  std::vector<ToolCall> calls;
  Reader reader{body};
  for (reader.skip_space(); !reader.rest.empty(); reader.skip_space()) {
    if (!reader.take("<｜tool▁call▁begin｜>")) return std::nullopt;
    const auto call = reader.until("<｜tool▁call▁end｜>");
    if (!call) return std::nullopt;
    Reader parts{*call};
    const auto before = parts.until("<｜tool▁sep｜>");
    if (!before) return std::nullopt;
    std::string_view name = trimmed(*before), arguments = trimmed(parts.rest);
    Reader fenced{parts.rest};
    if (const auto line = fenced.until("\n```json\n");
        line && fenced.rest.find("```") != std::string_view::npos) {
      name = trimmed(*line);
      arguments = trimmed(fenced.rest.substr(0, fenced.rest.rfind("```")));
    }
    const auto read = call_of(name, arguments);
    if (!read) return std::nullopt;
    calls.push_back(*read);
  }
  return calls;
}

// The parameters of an invocation as one JSON object: strings as they stand, all else is JSON.
std::optional<std::string> read_dsml_parameters(std::string_view body) {
  std::string arguments = "{";
  Reader reader{body};
  for (reader.skip_space(); !reader.rest.empty(); reader.skip_space()) {
    if (!reader.take("<｜DSML｜parameter name=\"")) return std::nullopt;
    const auto name = reader.until("\" string=\"");
    if (!name) return std::nullopt;
    const auto is_string = reader.until("\">");
    if (!is_string || (*is_string != "true" && *is_string != "false")) return std::nullopt;
    const auto value = reader.until("</｜DSML｜parameter>");
    if (!value || (*is_string == "false" && !parse(*value))) return std::nullopt;
    if (arguments.size() > 1) arguments += ", ";
    arguments += quoted(*name) + ": ";
    arguments += *is_string == "true" ? quoted(*value) : std::string(trimmed(*value));
  }
  return arguments + "}";
}

// <｜DSML｜invoke name="NAME"> parameters </｜DSML｜invoke>
Calls read_dsml(std::string_view body) {
  std::vector<ToolCall> calls;
  Reader reader{body};
  for (reader.skip_space(); !reader.rest.empty(); reader.skip_space()) {
    if (!reader.take("<｜DSML｜invoke name=\"")) return std::nullopt;
    const auto name = reader.until("\">");
    const auto parameters = reader.until("</｜DSML｜invoke>");
    if (!name || !parameters) return std::nullopt;
    const auto arguments = read_dsml_parameters(*parameters);
    if (!arguments) return std::nullopt;
    const auto read = call_of(*name, *arguments);
    if (!read) return std::nullopt;
    calls.push_back(*read);
  }
  return calls;
}

// {"name": NAME, "arguments": {...}}; Llama's models write "parameters".
Calls read_hermes(std::string_view body) {
  const auto object = parse(trimmed(body));
  if (!object || !object->is_object()) return std::nullopt;
  const auto name = object->find("name");
  auto arguments = object->find("arguments");
  if (arguments == object->end()) arguments = object->find("parameters");
  if (name == object->end() || !name->is_string() || arguments == object->end())
    return std::nullopt;
  // Some write the object as a string of JSON.
  const auto call =
      call_of(name->get<std::string>(),
              arguments->is_string() ? arguments->get<std::string>() : arguments->dump());
  if (!call) return std::nullopt;
  return std::vector{*call};
}

}  // namespace

struct ToolCallStream::Form {
  std::string_view opening, closing;
  Calls (*read)(std::string_view body);
};

namespace {

constexpr ToolCallStream::Form kForms[] = {
    {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", read_deepseek},
    {"<｜DSML｜function_calls>", "</｜DSML｜function_calls>", read_dsml},
    {"<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>", read_dsml},
    {"<tool_call>", "</tool_call>", read_hermes},
};

// What vocabularies have as tokens between an opening and its closing.
constexpr std::string_view kInnerMarks[] = {"<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
                                            "<｜tool▁call▁end｜>", "｜DSML｜"};

// The longest end of `text` that is a beginning of `wanted`, but not all of it.
size_t begun(std::string_view text, std::string_view wanted) {
  for (size_t size = std::min(text.size(), wanted.size() - 1); size > 0; --size) {
    if (text.ends_with(wanted.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

std::optional<CallFrame> call_frame(std::string_view chat_template, std::string_view name) {
  const auto mark = TokenTrie::mark;
  const auto mentions = [&](std::string_view text) {
    return chat_template.find(text) != text.npos;
  };
  if (mentions("<｜tool▁calls▁begin｜>")) {
    const std::string opening = mark("<｜tool▁calls▁begin｜>") + mark("<｜tool▁call▁begin｜>");
    const std::string closing = mark("<｜tool▁call▁end｜>") + mark("<｜tool▁calls▁end｜>");
    const std::string separator = mark("<｜tool▁sep｜>"), called(name);
    if (!mentions("```json")) return CallFrame{opening + called + separator, closing};
    return CallFrame{opening + "function" + separator + called + "\n```json\n", "\n```" + closing};
  }
  if (mentions("<tool_call>") && !mentions("｜DSML｜")) {
    return CallFrame{mark("<tool_call>") + "\n{\"name\": " + quoted(name) + ", \"arguments\": ",
                     "}\n" + mark("</tool_call>")};
  }
  return std::nullopt;
}

ToolCallStream::ToolCallStream(std::string_view chat_template) {
  // DeepSeek's newer templates build the name of an element from its parts.
  const bool dsml = chat_template.find("｜DSML｜") != std::string_view::npos;
  for (const Form& form : kForms) {
    const bool mentioned = chat_template.find(form.opening) != std::string_view::npos;
    if (mentioned || (dsml && form.read == read_dsml)) forms_.push_back(&form);
  }
}

bool ToolCallStream::is_mark(std::string_view token) {
  return std::ranges::find(kInnerMarks, token) != std::end(kInnerMarks) ||
         std::ranges::any_of(kForms, [&](const Form& form) {
           return token == form.opening || token == form.closing;
         });
}

ToolCallDelta ToolCallStream::push(std::string_view text) {
  ToolCallDelta delta;
  held_ += text;
  while (open_ == nullptr ? find_opening(delta) : find_closing(delta)) {
  }
  return delta;
}

ToolCallDelta ToolCallStream::finish() {
  ToolCallDelta delta;
  delta.text = std::exchange(held_, {});
  open_ = nullptr;
  return delta;
}

// Lets go of the text before the first opening; true: there is one.
bool ToolCallStream::find_opening(ToolCallDelta& delta) {
  if (after_call_) held_.erase(0, std::min(held_.find_first_not_of(kWhiteSpace), held_.size()));
  after_call_ = after_call_ && held_.empty();
  size_t first = held_.size(), kept = 0;
  for (const Form* form : forms_) {
    if (calls_ >= kCallsMax) break;
    kept = std::max(kept, begun(held_, form->opening));
    if (const size_t at = held_.find(form->opening); at < first) {
      first = at;
      open_ = form;
    }
  }
  const size_t gone = open_ != nullptr ? first : held_.size() - kept;
  delta.text.append(held_, 0, gone);
  held_.erase(0, gone);
  searched_ = open_ != nullptr ? open_->opening.size() : 0;
  return open_ != nullptr;
}

// True: the section is over, as calls or as text.
bool ToolCallStream::find_closing(ToolCallDelta& delta) {
  const size_t opening = open_->opening.size(), closing = open_->closing.size();
  const size_t at = held_.find(open_->closing, searched_);
  if (at == std::string::npos) {
    if (held_.size() <= kSectionBytesMax) {
      searched_ = std::max(opening, held_.size() - std::min(held_.size(), closing - 1));
      return false;
    }
    delta.text += std::exchange(held_, {});
    open_ = nullptr;
    return false;
  }
  const std::string_view section = std::string_view(held_).substr(0, at + closing);
  take_section(section, section.substr(opening, at - opening), delta);
  held_.erase(0, at + closing);
  open_ = nullptr;
  return true;
}

void ToolCallStream::take_section(std::string_view section, std::string_view body,
                                  ToolCallDelta& delta) {
  const Calls calls = open_->read(body);
  if (!calls || calls->empty() || calls_ + calls->size() > kCallsMax) {
    delta.text += section;
    return;
  }
  calls_ += calls->size();
  delta.calls.insert(delta.calls.end(), calls->begin(), calls->end());
  after_call_ = true;
}

}  // namespace hadal
