// The options that shape an answer, once for the command line and for /set: name, range, where the
// value goes.
#pragma once

#include <string>

#include "base/result.h"
#include "engine/generation.h"

namespace CLI {
class App;
}

namespace hadal {

struct CommandContext;

// How the model's makers want it sampled, with the catalogue's advice where its files say nothing.
SamplingOptions advised_sampling(const CommandContext& context, const Generator& generator);

// Sets one option by its name ("top-p"). Errors name the option, the value and the range.
Status set_generation_option(GenerationOptions& options, const std::string& name,
                             const std::string& value);

// Values given on the command line or in HADAL_*; all others stay as the model's defaults have
// them.
struct GivenOptions {
  std::vector<std::pair<std::string, std::string>> values;
};
void add_generation_options(CLI::App& command, GivenOptions& given);
Status apply(const GivenOptions& given, GenerationOptions& options);

}  // namespace hadal
