// What the surroundings say: the only place that reads environment variables.
#pragma once

#include <filesystem>
#include <string>

#include "hub/hub_options.h"

namespace hadal {

struct Environment {
  std::filesystem::path home;  // $HADAL_HOME, else $XDG_DATA_HOME/hadal, else ~/.local/share/hadal
  bool no_color = false;       // NO_COLOR is set to anything, or the terminal is dumb
  bool dumb_terminal = false;  // TERM is "dumb"
  HubOptions
      hub;  // HF_*, MODELSCOPE_*, HADAL_MIRRORS, SSL_CERT_FILE; proxies are read by curl itself
  std::string hub_problem;  // what is wrong in them, for the command that needs a hub; "" = nothing
};

Environment read_environment();

}  // namespace hadal
