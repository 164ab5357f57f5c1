#include "cli/line_editor.h"

#include <histedit.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdio>

namespace hadal {
namespace {

constexpr int kHistoryLines = 1000;

std::atomic<bool> interrupted_flag{false};  // a signal handler has no other way to speak
struct sigaction previous_action;

void on_interrupt(int) {
  interrupted_flag.store(true, std::memory_order_relaxed);
}

}  // namespace

struct LineEditor::State {
  std::filesystem::path history_file;
  std::string prompt;
  EditLine* editor = nullptr;
  History* history = nullptr;

  static char* current_prompt(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return static_cast<State*>(data)->prompt.data();
  }
};

LineEditor::LineEditor(std::filesystem::path history_file) : state_(std::make_unique<State>()) {
  state_->history_file = std::move(history_file);
  state_->history = history_init();
  HistEvent event;
  history(state_->history, &event, H_SETSIZE, kHistoryLines);
  history(state_->history, &event, H_SETUNIQUE, 1);
  history(state_->history, &event, H_LOAD, state_->history_file.c_str());
  state_->editor = el_init("hadal", stdin, stderr, stderr);
  el_set(state_->editor, EL_CLIENTDATA, state_.get());
  el_set(state_->editor, EL_PROMPT, &State::current_prompt);
  el_set(state_->editor, EL_EDITOR, "emacs");
  el_set(state_->editor, EL_SIGNAL, 1);
  el_set(state_->editor, EL_HIST, history, state_->history);
  el_set(state_->editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
}

LineEditor::~LineEditor() {
  el_end(state_->editor);
  history_end(state_->history);
}

Line LineEditor::read(const char* prompt) {
  state_->prompt = prompt;
  el_resize(state_->editor);
  int count = 0;
  const char* text = el_gets(state_->editor, &count);
  if (text == nullptr || count <= 0) {
    std::fputc('\n', stderr);
    return {InterruptCatcher::interrupted() ? LineEnd::kInterrupted : LineEnd::kEndOfInput, ""};
  }
  Line line{LineEnd::kLine, std::string(text, static_cast<size_t>(count))};
  while (!line.text.empty() && (line.text.back() == '\n' || line.text.back() == '\r')) {
    line.text.pop_back();
  }
  return line;
}

void LineEditor::remember(const std::string& line) {
  HistEvent event;
  history(state_->history, &event, H_ENTER, line.c_str());
}

void LineEditor::save_history() {
  HistEvent event;
  std::error_code ignored;
  std::filesystem::create_directories(state_->history_file.parent_path(), ignored);
  const mode_t mask = umask(077);  // what a person asks is theirs alone
  history(state_->history, &event, H_SAVE, state_->history_file.c_str());
  umask(mask);
}

InterruptCatcher::InterruptCatcher() {
  reset();
  struct sigaction action = {};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a waiting read must end
  sigaction(SIGINT, &action, &previous_action);
}

InterruptCatcher::~InterruptCatcher() {
  sigaction(SIGINT, &previous_action, nullptr);
}

bool InterruptCatcher::interrupted() {
  return interrupted_flag.load(std::memory_order_relaxed);
}

void InterruptCatcher::reset() {
  interrupted_flag.store(false, std::memory_order_relaxed);
}

}  // namespace hadal
