#include "cli/chat.h"

#include <algorithm>
#include <fstream>

#include "cli/sampling_options.h"
#include "file/json_tree.h"

namespace hadal {
namespace {

constexpr const char* kHelp =
    "/set NAME VALUE   temperature, top-p, top-k, min-p, repetition-penalty, presence-penalty,\n"
    "                  frequency-penalty, seed, max-tokens, thinking-budget, system, think (on, "
    "off, default),\n"
    "                  hide-thinking (on, off), verbose (on, off)\n"
    "/show             the settings and the conversation's length\n"
    "/clear            forget the conversation\n"
    "/regen            answer the last message again\n"
    "/save NAME        keep the conversation; /load NAME brings it back\n"
    "/bye              leave (Ctrl-D too)\n"
    "\"\"\"               begins and ends a message of several lines\n"
    "Ctrl-C            stops an answer; the conversation stays";

constexpr std::string_view kBlockMark = "\"\"\"";
constexpr uint64_t kChatFileBytesMax = 64ull << 20;
constexpr int kChatDepthMax = 32;

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

const char* word_for(Thinking thinking) {
  return thinking == Thinking::kOn ? "on" : thinking == Thinking::kOff ? "off" : "default";
}

}  // namespace

std::optional<std::filesystem::path> chat_path(const std::filesystem::path& home,
                                               const std::string& name) {
  const bool plain = !name.empty() && name.size() <= kChatNameBytesMax && name.front() != '.' &&
                     std::none_of(name.begin(), name.end(), [](unsigned char c) {
                       return c == '/' || c < 0x20 || c == 0x7f;
                     });
  if (!plain) return std::nullopt;
  return home / "chats" / (name + ".json");
}

Chat::Chat(CommandContext& context, Generator& generator, RunOptions options)
    : context_(context),
      generator_(generator),
      options_(std::move(options)),
      editor_(context.environment.home / "history") {
  clear();
}

void Chat::clear() {
  messages_ = nlohmann::json::array();
  if (options_.system) messages_.push_back({{"role", "system"}, {"content", *options_.system}});
}

Status Chat::run() {
  const InterruptCatcher catcher;
  context_.terminal.say(fmt::format("{}, context {} tokens (/? for help)",
                                    generator_.file().path().stem().string(),
                                    generator_.engine().info().context_tokens));
  while (auto message = read_message()) {
    if (message->empty()) continue;
    if (message->front() == '/' && message->find('\n') == std::string::npos) {
      if (!command(*message)) break;
      continue;
    }
    messages_.push_back({{"role", "user"}, {"content", *message}});
    answer();
    HADAL_TRY_VOID(context_.terminal.output_status());
  }
  return {};
}

std::optional<std::string> Chat::read_message() {
  std::string block;
  bool in_block = false;
  for (;;) {
    InterruptCatcher::reset();
    const Line line = editor_.read(in_block ? "... " : ">>> ");
    if (line.end == LineEnd::kEndOfInput) return std::nullopt;
    if (line.end == LineEnd::kInterrupted) {
      if (!in_block) context_.terminal.say("(/bye or Ctrl-D to leave)");
      block.clear();
      in_block = false;
      continue;
    }
    if (!line.text.empty()) editor_.remember(line.text);
    std::string_view text = line.text;
    if (!in_block) {
      if (!text.starts_with(kBlockMark)) {
        editor_.save_history();
        return trimmed(text);
      }
      text.remove_prefix(kBlockMark.size());
      in_block = true;
      if (text.empty()) continue;
    }
    if (text.ends_with(kBlockMark)) {
      text.remove_suffix(kBlockMark.size());
      editor_.save_history();
      block += text;
      while (!block.empty() && block.back() == '\n') block.pop_back();
      return block;
    }
    block += text;
    block += '\n';
  }
}

void Chat::answer() {
  InterruptCatcher::reset();
  const auto prompt = generator_.chat_prompt(messages_, options_.chat);
  auto answer = prompt ? stream_answer(context_, generator_, *prompt, options_)
                       : Result<Answer>(forward_error(prompt));
  if (!answer) {
    context_.terminal.error(answer.error().message);
    if (messages_.back()["role"] == "user") messages_.erase(messages_.size() - 1);
    return;
  }
  if (answer->reason == FinishReason::kCancelled && answer->text.empty() &&
      answer->thinking.empty()) {
    // Two questions in a row are more than some templates render.
    context_.terminal.say("The message is not kept: its answer had not begun.");
    messages_.erase(messages_.size() - 1);
    return;
  }
  nlohmann::json message = {{"role", "assistant"}, {"content", answer->text}};
  if (!answer->thinking.empty()) message["reasoning_content"] = answer->thinking;
  messages_.push_back(std::move(message));
}

bool Chat::command(const std::string& line) {
  const size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  const std::string rest = space == std::string::npos ? "" : trimmed(line.substr(space));
  if (name == "/bye" || name == "/exit" || name == "/quit") return false;
  if (name == "/?" || name == "/help") {
    context_.terminal.say(kHelp);
  } else if (name == "/clear") {
    clear();
    context_.terminal.say("The conversation is forgotten.");
  } else if (name == "/show") {
    show();
  } else if (name == "/regen") {
    regenerate();
  } else if (name == "/save") {
    save(rest);
  } else if (name == "/load") {
    load(rest);
  } else if (name == "/set") {
    const size_t gap = rest.find(' ');
    set(rest.substr(0, gap), gap == std::string::npos ? "" : trimmed(rest.substr(gap)));
  } else {
    context_.terminal.say(fmt::format("{} is no command; /? lists them.", name));
  }
  return true;
}

void Chat::set(const std::string& name, const std::string& value) {
  const auto on_off = [&](bool& flag) -> Status {
    if (value != "on" && value != "off") return fail("{} takes on or off", name);
    flag = value == "on";
    return {};
  };
  const auto apply = [&]() -> Status {
    if (name == "system") {
      options_.system = value;
      if (!messages_.empty() && messages_[0]["role"] == "system") messages_.erase(0);
      if (value.empty()) {
        options_.system.reset();
      } else {
        messages_.insert(messages_.begin(), {{"role", "system"}, {"content", value}});
      }
      return {};
    }
    if (name == "think") {
      if (value == "on") {
        options_.chat.thinking = Thinking::kOn;
      } else if (value == "off") {
        options_.chat.thinking = Thinking::kOff;
      } else if (value == "default") {
        options_.chat.thinking = Thinking::kModelDefault;
      } else {
        return fail("think takes on, off or default");
      }
      return {};
    }
    if (name == "hide-thinking") return on_off(options_.hide_thinking);
    if (name == "verbose") return on_off(options_.verbose);
    return set_generation_option(options_.generation, name, value);
  };
  const Status status = apply();
  context_.terminal.say(status ? fmt::format("{} = {}", name, value) : status.error().message);
}

void Chat::show() const {
  const SamplingOptions& sampling = options_.generation.sampling;
  context_.terminal.say(fmt::format(
      "model {}\ncontext {} tokens\nmessages {}\nsystem {}\nthink {}\ntemperature {}, top-p {}, "
      "top-k {}, min-p {}\n"
      "repetition-penalty {}, presence-penalty {}, frequency-penalty {}\nseed {}\nmax-tokens {}",
      generator_.file().path().string(), generator_.engine().info().context_tokens,
      messages_.size(), options_.system.value_or("(none)"), word_for(options_.chat.thinking),
      sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p,
      sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty,
      sampling.seed,
      options_.generation.max_tokens == 0 ? "to the end of the context"
                                          : fmt::format("{}", options_.generation.max_tokens)));
}

void Chat::regenerate() {
  const nlohmann::json before = messages_;
  if (!messages_.empty() && messages_.back()["role"] == "assistant") {
    messages_.erase(messages_.size() - 1);
  }
  if (messages_.empty() || messages_.back()["role"] != "user") {
    context_.terminal.say("There is nothing to answer yet.");
    return;
  }
  ++options_.generation.sampling.seed;  // the same seed would give the same answer
  answer();
  if (messages_.size() < before.size()) messages_ = before;  // there is no other answer
}

std::optional<std::filesystem::path> Chat::chat_file(const std::string& name) const {
  auto path = chat_path(context_.environment.home, name);
  if (!path) context_.terminal.say("Give a name without slashes, e.g. /save idea");
  return path;
}

void Chat::save(const std::string& name) {
  const auto path = chat_file(name);
  if (!path) return;
  std::error_code error;
  std::filesystem::create_directories(path->parent_path(), error);
  const std::filesystem::path unfinished = path->string() + ".part";
  {
    std::ofstream file(unfinished, std::ios::binary);
    file << nlohmann::json{{"messages", messages_}}.dump(2, ' ', false,
                                                         nlohmann::json::error_handler_t::replace)
         << '\n';
    file.close();
    if (!file) {
      context_.terminal.error(fmt::format("cannot write {}: {}. The conversation is still here.",
                                          path->string(), std::generic_category().message(errno)));
      std::filesystem::remove(unfinished, error);
      return;
    }
  }
  std::filesystem::permissions(unfinished, std::filesystem::perms(0600), error);  // theirs alone
  std::filesystem::rename(unfinished, *path, error);
  context_.terminal.say(
      error ? fmt::format("cannot write {}: {}", path->string(), error.message())
            : fmt::format("saved as {}; /load {} brings it back", path->string(), name));
}

void Chat::load(const std::string& name) {
  const auto path = chat_file(name);
  if (!path) return;
  std::error_code error;
  if (std::filesystem::file_size(*path, error) > kChatFileBytesMax || error) {
    context_.terminal.say(fmt::format("cannot read {}: {}", path->string(),
                                      error ? error.message() : "too large for a conversation"));
    return;
  }
  const auto text = read_text(path->string());
  const auto chat = (text ? read_json_tree(*text, path->string(), kChatDepthMax) : nlohmann::json())
                        .value_or(nlohmann::json());
  const auto well_formed = [](const nlohmann::json& message) {
    return message.is_object() && message.contains("role") && message["role"].is_string() &&
           message.contains("content") && message["content"].is_string();
  };
  if (!chat.is_object() || !chat.contains("messages") || !chat["messages"].is_array() ||
      !std::all_of(chat["messages"].begin(), chat["messages"].end(), well_formed)) {
    context_.terminal.say(fmt::format("{} is no saved conversation", path->string()));
    return;
  }
  messages_ = chat["messages"];
  context_.terminal.say(fmt::format("{} messages loaded", messages_.size()));
}

}  // namespace hadal
