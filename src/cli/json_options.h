// A JSON file of options: {"host": "127.0.0.1", "parallel": 8}, each by its long name, each of the
// type that its option has: true or false for a flag, numbers without quotes, a list where an
// option can be given several times.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace CLI {
class App;
}

namespace hadal {

// Gives the command's options the file's values, but for those that the command line or the
// environment has set; these are held to their types, too. Errors name the file and the option: no
// such option, one that stands there twice, a value of another type (with the value) or one that
// the option does not take, text that is no JSON (with line and column).
Status apply_json_options(CLI::App& command, const std::filesystem::path& file);

}  // namespace hadal
