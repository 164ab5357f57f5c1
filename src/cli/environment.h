// What the surroundings say: the only place that reads environment variables.
#pragma once

#include <filesystem>
#include <string>

namespace hadal {

struct Environment {
  std::filesystem::path home;  // $HADAL_HOME, else $XDG_DATA_HOME/hadal, else ~/.local/share/hadal
  bool no_color = false;       // NO_COLOR is set to anything, or the terminal is dumb
  bool dumb_terminal = false;  // TERM is "dumb"
};

Environment read_environment();

}  // namespace hadal
