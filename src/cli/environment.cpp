#include "cli/environment.h"

#include <cstdlib>
#include <string_view>

namespace hadal {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Environment read_environment() {
  Environment environment;
  if (const std::string home = variable("HADAL_HOME"); !home.empty()) {
    environment.home = home;
  } else if (const std::string data = variable("XDG_DATA_HOME"); !data.empty()) {
    environment.home = std::filesystem::path(data) / "hadal";
  } else {
    environment.home = std::filesystem::path(variable("HOME")) / ".local/share/hadal";
  }
  environment.dumb_terminal = variable("TERM") == "dumb";
  environment.no_color = !variable("NO_COLOR").empty() || environment.dumb_terminal;
  return environment;
}

}  // namespace hadal
