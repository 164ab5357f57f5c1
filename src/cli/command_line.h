// hadal's command line: one subcommand a file. Exit status: 0, 1 (failed: the message says why and
// what to do), 2 (usage).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/environment.h"
#include "cli/terminal.h"
#include "device/device.h"
#include "engine/generation.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace hadal {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

struct CommandContext {
  Environment environment;
  Terminal terminal;
  double read_bytes_per_s = 0;  // of the device, measured when --verbose first needs it
};

// What every command that runs a model takes: --device, --threads, --instruction-set, --context,
// --cache-type-k, --cache-type-v.
struct ModelOptions {
  std::string model;  // a name or a path; "" = the default model
  std::string device = "cpu";
  uint32_t threads = 0;
  std::string instruction_set;
  uint32_t context_tokens = 0;
  std::optional<QuantType> key_type, value_type;  // none: the model's own
  Speculation speculation = Speculation::kOff;
};
void add_model_options(CLI::App& command, ModelOptions& options);
// --speculate, for commands that generate.
void add_speculation_option(CLI::App& command, ModelOptions& options);

// What an engine is asked to carry: engine/engine.h says what each means.
struct EngineLoad {
  uint32_t step_tokens_max = 512, sequences_max = 1, waiting_max = 1024;
  double target_itl_ms = 0;
  bool embeddings = false;
  std::shared_ptr<const std::atomic<bool>> stop;  // once it is set a load gives up; null: none does
};

// Resolves the name, opens devices and model with a progress bar, prints the model's warnings.
Result<std::unique_ptr<Generator>> open_model(CommandContext& context, const ModelOptions& options,
                                              std::optional<std::string> chat_template = {},
                                              const EngineLoad& load = {});

// A whole text file, at most Tokenizer::kTextBytesMax bytes; "-" is standard input.
Result<std::string> read_text(const std::string& path);

// A command: adds its options to the application and returns what to do when it was chosen. A
// Status error is printed and ends with kExitFailed.
using CommandBody = std::function<Status()>;
struct Command {
  CLI::App* app;
  CommandBody body;
};
Command add_run(CLI::App& application, CommandContext& context);
Command add_serve(CLI::App& application, CommandContext& context);
Command add_show(CLI::App& application, CommandContext& context);
Command add_list(CLI::App& application, CommandContext& context);
Command add_tokenize(CLI::App& application, CommandContext& context);
Command add_eval(CLI::App& application, CommandContext& context);
Command add_bench(CLI::App& application, CommandContext& context);
Command add_completion(CLI::App& application, CommandContext& context);

int run_command_line(int argument_count, char** arguments);

}  // namespace hadal
