// `hadal key`: the keys of `hadal serve`.
#pragma once

#include "cli/command_line.h"

namespace hadal {

// Where they lie.
inline std::filesystem::path key_file(const Environment& environment) {
  return environment.home / "keys.json";
}

Command add_key(CLI::App& application, CommandContext& context);

}  // namespace hadal
