// How commands get a model that may not be on the disk yet, and what a person sees meanwhile.
#pragma once

#include <filesystem>
#include <string>

#include "cli/command_line.h"
#include "cli/hub_environment.h"
#include "hub/pull.h"

namespace hadal {

Command add_pull(CLI::App& application, CommandContext& context);
Command add_rm(CLI::App& application, CommandContext& context);

// The hubs as environment and machine have them; Ctrl-C ends what is under way (while an
// InterruptCatcher lives).
Result<HubOptions> hub_options(const CommandContext& context);

// Pulls with a bar (lines, where there is no terminal), and says in the end what came.
Result<PulledModel> pull_and_show(CommandContext& context, const std::string& name,
                                  const HubOptions& options);

// What a command was given as MODEL -> a path that exists: a file, a folder, a name of the model
// folder, what was pulled, what lies in the caches of the hubs; else it is pulled. "" = the default
// model.
Result<std::filesystem::path> find_or_pull(CommandContext& context, const std::string& model);
// The same, without a pull.
Result<std::filesystem::path> find_model(const CommandContext& context, const std::string& model);

}  // namespace hadal
