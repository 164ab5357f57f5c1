// The models on this machine, as `hadal list` shows them and `hadal serve` offers them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/command_line.h"

namespace hadal {

struct ModelHere {
  std::string name, path;
  std::string shared;  // whose else it is, for show
  uint64_t bytes = 0;
  bool complete = true;
};

// hadal's own folder, what was pulled, and what lies in the Hugging Face cache; a model that two of
// them know is one.
Result<std::vector<ModelHere>> models_here(const CommandContext& context);

}  // namespace hadal
