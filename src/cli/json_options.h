// A JSON file of options: {"host": "127.0.0.1", "parallel": 8}, each by its long name.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace CLI {
class App;
}

namespace hadal {

// Gives the command's options the file's values, but for those that the command line or the
// environment has set. Errors: no such option, a value it does not take, text that is no JSON.
Status apply_json_options(CLI::App& command, const std::filesystem::path& file);

}  // namespace hadal
