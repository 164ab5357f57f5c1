#include "cli/command_line.h"

#include <fmt/ranges.h>
#include <langinfo.h>

#include <CLI/CLI.hpp>
#include <clocale>
#include <csignal>
#include <fstream>
#include <iostream>
#include <map>
#include <new>
#include <system_error>

#include "cli/key.h"
#include "cli/pull_model.h"
#include "device/registry.h"

namespace hadal {
namespace {

constexpr const char* kDescription =
    "hadal runs DeepSeek and other open models on your own machine. Nothing leaves it.\n"
    "Example: hadal run MODEL \"What is the capital of France?\"";

// Chinese input and output need a UTF-8 locale; where the person's is not one, C.UTF-8 is on every
// Debian.
void set_locale() {
  std::setlocale(LC_ALL, "");
  if (std::string_view(nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_ALL, "C.UTF-8");
  std::setlocale(LC_NUMERIC, "C");
}

// "rnu" -> "run": the known command nearest in edits, if it is near.
std::optional<std::string> nearest(const std::string& word, const std::vector<std::string>& known) {
  std::optional<std::string> best;
  size_t best_distance = 3;
  for (const std::string& candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t i = 0; i < row.size(); ++i) row[i] = i;
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t replace = diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

// A first word that is no command gets its own sentence; CLI11 would call it an unexpected
// argument.
std::optional<std::string> unknown_command(const std::vector<Command>& commands, int argument_count,
                                           char** arguments) {
  if (argument_count < 2 || arguments[1][0] == '-') return std::nullopt;
  const std::string word = arguments[1];
  std::vector<std::string> known;
  for (const Command& command : commands) known.push_back(command.app->get_name());
  if (std::find(known.begin(), known.end(), word) != known.end()) return std::nullopt;
  const auto near = nearest(word.substr(0, 64), known);
  return fmt::format("unknown command '{}'{}. Commands: {}; `hadal --help` describes them.", word,
                     near ? fmt::format(" (did you mean '{}'?)", *near) : "",
                     fmt::join(known, ", "));
}

int run_chosen(CommandContext& context, const std::vector<Command>& commands) {
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    Status status = command.body();
    if (status) status = context.terminal.output_status();
    if (status) return 0;
    context.terminal.error(status.error().message);
    return kExitFailed;
  }
  context.terminal.error("no command given; `hadal --help` lists them.");
  return kExitUsage;
}

int parse_and_run(CommandContext& context, int argument_count, char** arguments) {
  CLI::App application(kDescription, "hadal");
  application.set_version_flag("--version", std::string("hadal ") + HADAL_VERSION);
  application.require_subcommand(0, 1);
  const std::vector<Command> commands = {
      add_run(application, context),        add_serve(application, context),
      add_pull(application, context),       add_list(application, context),
      add_show(application, context),       add_rm(application, context),
      add_tokenize(application, context),   add_eval(application, context),
      add_bench(application, context),      add_key(application, context),
      add_completion(application, context),
  };
  if (const auto message = unknown_command(commands, argument_count, arguments)) {
    context.terminal.error(*message);
    return kExitUsage;
  }
  try {
    application.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return application.exit(error);  // --help, --version
    std::string help = "hadal";
    for (const Command& command : commands) {
      if (command.app->parsed()) help += " " + command.app->get_name();
    }
    context.terminal.error(fmt::format("{}\nSee `{} --help`.", error.what(), help));
    return kExitUsage;
  }
  return run_chosen(context, commands);
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("--device", options.device, "What computes")
      ->envname("HADAL_DEVICE")
      ->check(CLI::IsMember(device_names()))
      ->type_name("NAME")
      ->capture_default_str();
  command.add_option("--threads", options.threads, "Threads of the CPU (0: one a physical core)")
      ->envname("HADAL_THREADS")
      ->check(CLI::Range(0, 1024).description(""))
      ->type_name("N");
  command
      .add_option("--instruction-set", options.instruction_set,
                  "Force the CPU's kernels, e.g. avx2 (default: the best this machine has)")
      ->envname("HADAL_INSTRUCTION_SET")
      ->type_name("NAME");
  command
      .add_option("--context", options.context_tokens,
                  "Tokens a conversation may hold (0: what the model and free memory allow)")
      ->envname("HADAL_CONTEXT")
      ->check(CLI::Range(0u, 1u << 24).description(""))
      ->type_name("N");
  const auto add_cache_type = [&command](const std::string& flag, const std::string& variable,
                                         std::optional<QuantType>& type, const std::string& help) {
    command
        .add_option_function<std::string>(
            flag, [&type](const std::string& name) { type = find_quant_format(name)->type; }, help)
        ->envname(variable)
        ->check(CLI::IsMember(std::vector<std::string>{"f16", "bf16", "f32", "q8_0", "q4_0"}))
        ->type_name("TYPE");
  };
  add_cache_type("--cache-type-k", "HADAL_CACHE_TYPE_K", options.key_type,
                 "What keys are kept as: f16, bf16, f32, or in half or about a quarter of f16's\n"
                 "memory q8_0, q4_0 (default: the model's own, f16 or bf16). DeepSeek V2 and V3\n"
                 "keep one latent in place of keys and values: it takes this type");
  add_cache_type("--cache-type-v", "HADAL_CACHE_TYPE_V", options.value_type,
                 "What values are kept as: the same choice (default: the model's own). They bear\n"
                 "q4_0 better than keys do");
}

void add_speculation_option(CLI::App& command, ModelOptions& options) {
  static const std::map<std::string, Speculation> kWords = {
      {"off", Speculation::kOff}, {"ngram", Speculation::kNgram}, {"mtp", Speculation::kMtp}};
  command
      .add_option_function<std::string>(
          "--speculate",
          [&options](const std::string& value) { options.speculation = kWords.at(value); },
          "Guess the next tokens and check several in one step where that is faster: ngram, from\n"
          "the text so far; mtp, by the model's own prediction layer (DeepSeek-V3's, if the file\n"
          "has it; takes the layer's memory); or off. The answer stays the same")
      ->envname("HADAL_SPECULATE")
      ->check(CLI::IsMember(std::vector<std::string>{"off", "ngram", "mtp"}))
      ->type_name("WHAT")
      ->default_str("off");
}

Result<std::unique_ptr<Generator>> open_model(CommandContext& context, const ModelOptions& options,
                                              std::optional<std::string> chat_template,
                                              const EngineLoad& load) {
  HADAL_TRY(const std::filesystem::path path, find_or_pull(context, options.model));
  HADAL_TRY(auto device, open_device({.name = options.device,
                                      .threads = options.threads,
                                      .instruction_set = options.instruction_set}));
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(device));
  GeneratorOptions generator;
  generator.chat_template = std::move(chat_template);
  generator.engine.context_tokens = options.context_tokens;
  generator.engine.step_tokens_max = load.step_tokens_max;
  generator.engine.sequences_max = load.sequences_max;
  generator.engine.waiting_max = load.waiting_max;
  generator.engine.target_itl_ms = load.target_itl_ms;
  generator.engine.embeddings = load.embeddings;
  generator.engine.key_type = options.key_type;
  generator.engine.value_type = options.value_type;
  generator.engine.speculation = options.speculation;
  const std::string what = fmt::format("loading {}", path.filename().string());
  generator.engine.progress = [&](const LoadProgress& progress) {
    if (load.stop && *load.stop) return false;
    if (progress.bytes_total == 0) return true;
    context.terminal.progress(
        what, static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes_total));
    return true;
  };
  auto opened = Generator::open(path, std::move(devices), generator);
  context.terminal.clear_progress();
  if (opened) {
    for (const std::string& warning : (*opened)->engine().info().warnings) {
      context.terminal.warn(warning);
    }
  }
  return opened;
}

Result<std::string> read_text(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) {
      return fail("{} is a folder, a text file was expected", path);
    }
    file.open(path, std::ios::binary);
    if (!file) return fail("cannot read {}: {}", path, std::generic_category().message(errno));
  }
  std::istream& stream = path == "-" ? std::cin : file;
  std::string text;
  char chunk[1 << 16];
  while (stream.read(chunk, sizeof(chunk)) || stream.gcount() > 0) {
    text.append(chunk, static_cast<size_t>(stream.gcount()));
    if (text.size() > Tokenizer::kTextBytesMax) {
      return fail("{} is longer than {} MiB, the most that is read",
                  path == "-" ? "the input" : path, Tokenizer::kTextBytesMax >> 20);
    }
  }
  if (stream.bad()) return fail("reading {} failed", path == "-" ? "standard input" : path);
  return text;
}

int run_command_line(int argument_count, char** arguments) {
  set_locale();
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file beyond `ulimit -f` is then an error of the write, with a sentence
  const Environment environment = read_environment();
  CommandContext context{environment, Terminal({.color = !environment.no_color,
                                                .moving_lines = !environment.dumb_terminal})};
  try {
    return parse_and_run(context, argument_count, arguments);
  } catch (const std::bad_alloc&) {
    context.terminal.error(
        "out of memory. Close other programs, raise the limit (ulimit -v, the container's), or "
        "give a smaller "
        "--context or model.");
  } catch (
      const std::system_error& error) {  // a thread or a file system call of the standard library
    context.terminal.error(fmt::format(
        "the system refused: {}. Is a limit on memory or processes set?", error.what()));
  } catch (const std::exception& error) {
    context.terminal.error(fmt::format("internal error: {}", error.what()));
  }
  return kExitFailed;
}

}  // namespace hadal
