#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "text/unicode.h"

namespace hadal {
namespace {

constexpr const char* kDim = "\033[2m";
constexpr const char* kPlain = "\033[0m";
constexpr uint32_t kNarrowestWrap = 20;  // columns; below this words are left to the terminal

void write_notice(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

bool steers(uint32_t code_point) {
  if (code_point == '\n' || code_point == '\t') return false;
  return code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0);
}

}  // namespace

std::string wrapped(std::string_view text, size_t columns) {
  std::string result;
  size_t used = 0;
  while (!text.empty()) {
    // A word with the spaces before it; they go where it begins a new line.
    const size_t word_begin = std::min(text.find_first_not_of(' '), text.size());
    const size_t word_end = std::min(text.find_first_of(" \n", word_begin), text.size());
    const std::string_view word = text.substr(word_begin, word_end - word_begin);
    if (used > 0 && used + word_begin + display_width(word) > columns) {
      result += '\n';
      used = 0;
    } else {
      result.append(word_begin, ' ');
      used += word_begin;
    }
    result += word;
    used += display_width(word);
    text.remove_prefix(word_end);
    if (text.starts_with('\n')) {
      result += '\n';
      used = 0;
      text.remove_prefix(1);
    }
  }
  return result;
}

std::string without_controls(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const DecodedCodePoint point = decode_code_point(text, at);
    const bool bad = point.value == kInvalidCodePoint || steers(point.value);
    append_code_point(result, bad ? kReplacementCharacter : point.value);
    at += point.bytes;
  }
  return result;
}

Terminal::Terminal(TerminalOptions options)
    : options_(options),
      input_is_terminal_(isatty(STDIN_FILENO) == 1),
      output_is_terminal_(isatty(STDOUT_FILENO) == 1),
      notices_are_terminal_(isatty(STDERR_FILENO) == 1) {}

uint32_t Terminal::columns() const {
  winsize size{};
  for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO}) {
    if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  }
  return 80;
}

void Terminal::say(std::string_view line) {
  clear_progress();
  write_notice(fmt::format("{}\n", notices_are_terminal_ ? wrapped(line, columns()) : line));
}

void Terminal::warn(std::string_view line) {
  say(fmt::format("hadal: warning: {}", without_controls(line)));
}

void Terminal::error(std::string_view message) {
  say(fmt::format("hadal: {}", without_controls(message)));
}

std::string Terminal::dimmed(std::string_view text) const {
  if (!options_.color || !notices_are_terminal_) return std::string(text);
  return fmt::format("{}{}{}", kDim, text, kPlain);
}

void Terminal::notice(std::string_view text) {
  clear_progress();
  write_notice(text);
}

void Terminal::progress(std::string_view what, double fraction) {
  if (!notices_are_terminal_ || !options_.moving_lines) return;
  const auto now = std::chrono::steady_clock::now();
  if (!progress_begun_) progress_begin_ = now;
  progress_begun_ = true;
  if (now - progress_begin_ < kProgressDelay) return;
  const int percent = static_cast<int>(100 * std::clamp(fraction, 0.0, 1.0));
  const int room = static_cast<int>(columns()) - static_cast<int>(display_width(what)) - 8;
  std::string bar;
  if (room >= 10) {
    const int cells = std::min(room, 40);
    const int filled = cells * percent / 100;
    bar = fmt::format(" [{}{}]", std::string(static_cast<size_t>(filled), '#'),
                      std::string(static_cast<size_t>(cells - filled), '.'));
  }
  write_notice(fmt::format("\r\033[K{}{} {}%", what, bar, percent));
  progress_shown_ = true;
}

void Terminal::clear_progress() {
  progress_begun_ = false;
  if (!progress_shown_) return;
  write_notice("\r\033[K");
  progress_shown_ = false;
}

void Terminal::write(std::string_view text) {
  clear_progress();
  std::string safe;
  if (output_is_terminal_) text = safe = without_controls(text);
  while (!text.empty() && write_error_ == 0) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR) {
      write_error_ = errno;
    }
  }
}

Status Terminal::output_status() {
  if (write_error_ == 0) return {};
  return fail("cannot write to standard output: {}", std::strerror(write_error_));
}

WrappingWriter::WrappingWriter(Terminal& terminal, Stream stream)
    : terminal_(terminal),
      stream_(stream),
      wrap_(stream == Stream::kAnswer ? terminal.output_is_terminal()
                                      : terminal.notices_are_terminal()) {}

void WrappingWriter::emit(std::string_view text) {
  if (stream_ == Stream::kAnswer) {
    terminal_.write(text);
  } else {
    terminal_.notice(terminal_.dimmed(without_controls(text)));
  }
}

void WrappingWriter::flush_word() {
  if (word_.empty()) return;
  const auto width = static_cast<uint32_t>(display_width(word_));
  const uint32_t columns = terminal_.columns();
  if (column_ > 0 && column_ + width > columns && width <= columns && columns >= kNarrowestWrap) {
    emit("\n");
    column_ = 0;
  }
  emit(word_);
  column_ += width;
  // The terminal breaks what is longer than a line. A full line is full, not the next one's start.
  if (column_ > columns) column_ = (column_ - 1) % columns + 1;
  word_.clear();
}

void WrappingWriter::write(std::string_view text) {
  if (!wrap_) {
    emit(text);
    if (!text.empty()) column_ = text.back() == '\n' ? 0 : 1;
    return;
  }
  while (!text.empty()) {
    const size_t length = decode_code_point(text, 0).bytes;
    const std::string_view character = text.substr(0, length);
    text.remove_prefix(character.size());
    if (character == " " || character == "\n") {
      flush_word();
      if (character == "\n") {
        emit("\n");
        column_ = 0;
      } else if (column_ < terminal_.columns()) {
        emit(" ");
        ++column_;
      }
    } else {
      // A wide character is a word of its own: Chinese breaks anywhere.
      if (display_width(character) > 1) flush_word();
      word_ += character;
      if (display_width(character) > 1) flush_word();
    }
  }
  // A stream must not lag a word behind the model when the model pauses; punctuation ends most
  // words, the rest wait for a space, at most a line.
  if (display_width(word_) >= terminal_.columns()) flush_word();
}

void WrappingWriter::finish() {
  flush_word();
  if (column_ > 0) emit("\n");
  column_ = 0;
}

}  // namespace hadal
