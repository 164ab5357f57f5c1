#include "cli/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <functional>

namespace hadal {
namespace {

// What `act` shows on a terminal of that many columns (a pseudo-terminal in place of standard
// output and standard error).
std::string shown_on_terminal(uint16_t columns, const std::function<void()>& act) {
  int controller = -1, terminal = -1;
  winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
  if (openpty(&controller, &terminal, nullptr, nullptr, &size) != 0) {
    ADD_FAILURE() << "no pseudo-terminal";
    return "";
  }
  fflush(stdout);
  fflush(stderr);
  const int output = dup(STDOUT_FILENO), errors = dup(STDERR_FILENO);
  dup2(terminal, STDOUT_FILENO);
  dup2(terminal, STDERR_FILENO);
  act();
  fflush(stderr);
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  for (const int descriptor : {output, errors, terminal}) close(descriptor);
  std::string shown;
  char chunk[4096];
  for (ssize_t got; (got = read(controller, chunk, sizeof(chunk))) > 0;) {
    shown.append(chunk, static_cast<size_t>(got));
  }
  close(controller);
  std::erase(shown, '\r');  // the line discipline's
  return shown;
}

std::string streamed(uint16_t columns, std::initializer_list<const char*> pieces) {
  return shown_on_terminal(columns, [&] {
    Terminal terminal({});
    WrappingWriter writer(terminal, WrappingWriter::Stream::kAnswer);
    for (const char* piece : pieces) writer.write(piece);
    writer.finish();
  });
}

TEST(WrappingWriter, WordsStayWholeHoweverTheyArrive) {
  EXPECT_EQ(streamed(20, {"one two three ", "fo", "ur five", " six"}),
            "one two three four \nfive six\n");
  EXPECT_EQ(streamed(20, {"a\n\nb"}), "a\n\nb\n");
}

TEST(WrappingWriter, ChineseBreaksAnywhereAndCountsTwoColumns) {
  // Ten wide characters fill a line of 20 columns; the eleventh begins the next.
  EXPECT_EQ(streamed(20, {"一二三四五六七八九十", "百"}), "一二三四五六七八九十\n百\n");
  // 19 columns are taken: a wide character does not fit the last one.
  EXPECT_EQ(streamed(20, {"abcdefghijklmnopqrs", "百"}), "abcdefghijklmnopqrs\n百\n");
}

TEST(WrappingWriter, AWordLongerThanTheLineIsLeftToTheTerminal) {
  const std::string link(50, 'x');
  EXPECT_EQ(streamed(20, {"see ", link.c_str(), " there"}), "see " + link + " there\n");
}

TEST(WrappingWriter, ANarrowTerminalWrapsByItself) {
  EXPECT_EQ(streamed(10, {"internationally known"}), "internationally known\n");
}

TEST(WrappingWriter, AModelCannotSteerTheTerminal) {
  EXPECT_EQ(streamed(40, {"a\033[31mb\x07", "\xc2\x9b", "c"}), "a\uFFFD[31mb\uFFFD\uFFFDc\n");
}

TEST(Terminal, NoticesBreakBetweenWords) {
  EXPECT_EQ(wrapped("one two three", 7), "one two\nthree");
  EXPECT_EQ(wrapped("one two three", 80), "one two three");
  EXPECT_EQ(wrapped("  kept\n\nspaces  here", 80), "  kept\n\nspaces  here");
  EXPECT_EQ(wrapped("你好 世界", 5), "你好\n世界");
  EXPECT_EQ(wrapped("a supercalifragilistic b", 5), "a\nsupercalifragilistic\nb");
  EXPECT_EQ(wrapped("", 5), "");
  EXPECT_EQ(wrapped("end ", 5), "end ");
}

TEST(Terminal, ControlCharactersAndBadBytesAreReplaced) {
  EXPECT_EQ(without_controls("tab\tline\nend"), "tab\tline\nend");
  EXPECT_EQ(without_controls("\033]0;title\007\x7f"), "\uFFFD]0;title\uFFFD\uFFFD");
  EXPECT_EQ(without_controls("\xff你好\xe4\xbd"), "\uFFFD你好\uFFFD");
}

TEST(Terminal, ColourWhereAllowedOnly) {
  std::string with, without;
  shown_on_terminal(80, [&] {
    with = Terminal({}).dimmed("x");
    without = Terminal({.color = false}).dimmed("x");
  });
  EXPECT_EQ(with, "\033[2mx\033[0m");
  EXPECT_EQ(without, "x");
}

TEST(Terminal, ShortWorkShowsNoProgress) {
  const std::string shown = shown_on_terminal(80, [] {
    Terminal terminal({});
    terminal.progress("loading", 0.1);
    terminal.progress("loading", 1);
    terminal.clear_progress();
  });
  EXPECT_EQ(shown, "");
}

TEST(Terminal, ProgressFitsTheWidthAndGoesAway) {
  const auto show = [](TerminalOptions options) {
    return [options] {
      Terminal terminal(options);
      terminal.progress("loading", 0);
      usleep(static_cast<useconds_t>(Terminal::kProgressDelay.count() + 20) * 1000);
      terminal.progress("loading", 0.5);
      terminal.clear_progress();
    };
  };
  EXPECT_EQ(shown_on_terminal(35, show({})), "\033[Kloading [##########..........] 50%\033[K");
  EXPECT_EQ(shown_on_terminal(20, show({})), "\033[Kloading 50%\033[K") << "no room for a bar";
  EXPECT_EQ(shown_on_terminal(80, show({.moving_lines = false})), "");
}

TEST(Terminal, AFullDiskIsKeptForTheEnd) {
  const int output = dup(STDOUT_FILENO);
  const int full = open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  dup2(full, STDOUT_FILENO);
  Terminal terminal({});
  terminal.write("words");
  terminal.write("more");
  dup2(output, STDOUT_FILENO);
  close(output);
  close(full);
  const Status status = terminal.output_status();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("No space left"), std::string::npos);
}

}  // namespace
}  // namespace hadal
