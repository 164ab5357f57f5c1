#include "measure/bench.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <fstream>
#include <map>
#include <system_error>

#include "base/json.h"
#include "cli/bench_chart.h"
#include "cli/bench_report.h"
#include "cli/command_line.h"
#include "cli/pull_model.h"
#include "model/model.h"

namespace hadal {
namespace {

constexpr uint32_t kTokensMost = 1u << 24, kRunTokensMost = 1u << 20;
constexpr uint32_t kStepTokens = 512;             // as every command's engine
constexpr uint32_t kSequencesMost = kStepTokens;  // each has a token in every step
constexpr uint64_t kContextLeast = 16;            // for the warm-up

enum class Format : uint8_t { kText, kMarkdown, kCsv, kJson };

struct BenchCommand {
  ModelOptions model;
  BenchOptions bench;
  Format format = Format::kText;
  bool ladder = false;
  std::string html;  // a page to write; "": none
};

// "128" or "128,512".
Result<std::vector<uint32_t>> parse_list(std::string_view text, uint32_t least, uint32_t most) {
  std::vector<uint32_t> list;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    uint32_t value = 0;
    const auto [stopped, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || stopped != word.data() + word.size() || value < least ||
        value > most) {
      return fail("'{}' is no number from {} to {}, or several with commas between", word, least,
                  most);
    }
    list.push_back(value);
    begin = end + 1;
  }
  if (list.size() > kBenchListMax) {
    return fail("a list of {} numbers is too long: at most {}", list.size(), kBenchListMax);
  }
  return list;
}

CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<uint32_t>& list,
                      const std::string& help, uint32_t least, uint32_t most) {
  return app
      .add_option_function<std::string>(
          name,
          [&list, least, most](const std::string& text) { list = *parse_list(text, least, most); },
          help)
      ->check([least, most](const std::string& text) {
        const auto parsed = parse_list(text, least, most);
        return parsed ? std::string() : parsed.error().message;
      })
      ->type_name("N,...")
      ->default_str(list.empty() ? "0" : fmt::to_string(list.front()));
}

// The tokens a model was made for; opens the file, but loads nothing.
Result<uint32_t> context_of_model(const CommandContext& context, const std::string& name) {
  HADAL_TRY(const auto path, find_model(context, name));
  HADAL_TRY(const auto file, ModelFile::open(path));
  HADAL_TRY(const std::string word, file->architecture());
  HADAL_TRY(const Architecture* architecture, find_architecture(word));
  HADAL_TRY(const auto config, architecture->read_config(file->metadata(), file->tensors()));
  return config->context_max;
}

Result<std::unique_ptr<Generator>> open_for(CommandContext& context, const BenchCommand& command) {
  ModelOptions model = command.model;
  const uint64_t needed = longest_run(command.bench);
  if (model.context_tokens == 0) {
    model.context_tokens = static_cast<uint32_t>(std::max(needed, kContextLeast));
  }
  HADAL_TRY_VOID(check_bench(command.bench, model.context_tokens));
  auto opened =
      open_model(context, model, {},
                 {.step_tokens_max = kStepTokens, .sequences_max = most_sequences(command.bench)});
  if (opened) return opened;
  // The engine refuses a context that the model was not made for; the person asked for lengths.
  const auto context_max = context_of_model(context, command.model.model);
  if (context_max && *context_max < needed) {
    HADAL_TRY_VOID(check_bench(command.bench, *context_max));
  }
  return opened;
}

// As deep as the context allows beside the longest run.
uint32_t deepest_in(uint32_t context_tokens, BenchOptions options) {
  options.depths = {0};
  const uint64_t run = longest_run(options);
  if (run >= context_tokens) return 0;
  const uint32_t deepest = static_cast<uint32_t>(context_tokens - run);
  return deepest < depth_in_cache(1) ? 0 : deepest - deepest % depth_in_cache(1);
}

Result<std::unique_ptr<Generator>> open_ladder(CommandContext& context, BenchCommand& command) {
  if (!command.bench.depths.empty()) {
    command.bench.depths = ladder_depths(std::ranges::max(command.bench.depths));
    return open_for(context, command);
  }
  HADAL_TRY(auto generator, open_model(context, command.model, {},
                                       {.step_tokens_max = kStepTokens,
                                        .sequences_max = most_sequences(command.bench)}));
  command.bench.depths =
      ladder_depths(deepest_in(generator->engine().info().context_tokens, command.bench));
  return generator;
}

Status write_page(const std::string& path, const std::string& page) {
  std::ofstream file(path, std::ios::binary);
  file << page;
  file.close();
  if (!file) return fail("cannot write {}: {}", path, std::generic_category().message(errno));
  return {};
}

Status run_bench(CommandContext& context, BenchCommand command) {
  if (command.bench.depths.empty() && !command.ladder) command.bench.depths = {0};
  HADAL_TRY(const auto generator,
            command.ladder ? open_ladder(context, command) : open_for(context, command));
  Engine& engine = generator->engine();
  Terminal& terminal = context.terminal;
  auto measured = bench(engine, command.bench, [&](const BenchProgress& now) {
    terminal.progress(fmt::format("measuring: {}", now.stage), now.done);
  });
  terminal.clear_progress();
  HADAL_TRY(const BenchReport report, std::move(measured));
  const BenchSubject subject{.model = generator->file().path().filename().string(),
                             .info = engine.info(),
                             .device = engine.devices().front()->info()};
  switch (command.format) {
    case Format::kText:
      terminal.write(bench_text(report, subject));
      if (command.ladder) terminal.write(bench_chart(report, terminal.columns()));
      break;
    case Format::kMarkdown:
      terminal.write(bench_markdown(report, subject));
      break;
    case Format::kCsv:
      terminal.write(bench_csv(report, subject));
      break;
    case Format::kJson:
      terminal.write(bench_json(report, subject).dump(2) + "\n");
      break;
  }
  return command.html.empty() ? Status{} : write_page(command.html, bench_page(report, subject));
}

void add_format_options(CLI::App& app, Format& format) {
  static const std::map<std::string, Format> kWords = {{"text", Format::kText},
                                                       {"md", Format::kMarkdown},
                                                       {"csv", Format::kCsv},
                                                       {"json", Format::kJson}};
  auto* option =
      app.add_option_function<std::string>(
             "--format", [&format](const std::string& word) { format = kWords.at(word); },
             "How to print: text, md (a Markdown table), csv or json")
          ->check(CLI::IsMember(std::vector<std::string>{"text", "md", "csv", "json"}))
          ->type_name("FORMAT")
          ->default_str("text");
  app.add_flag_callback(
         "--json", [&format] { format = Format::kJson; }, "As --format json")
      ->excludes(option);
}

}  // namespace

Command add_bench(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "bench",
      "Measure speed beside the machine's limit\nExample: hadal bench MODEL -p 512 -n 128\n"
      "         hadal bench MODEL -p 128,512 -d 0,4096 --sequences 1,8 --format md");
  auto command = std::make_shared<BenchCommand>();
  BenchOptions& bench = command->bench;
  bench.depths.clear();  // none given: 0, or the ladder's own
  app->add_option("model", command->model.model,
                  "A name from `hadal list`, a .gguf file or a folder");
  add_list(*app, "-p,--prompt-tokens", bench.prompt_tokens,
           "Prompt lengths, e.g. 128,512 (0: skip)", 0, kRunTokensMost);
  app->add_option("-n,--decode-tokens", bench.decode_tokens, "Tokens to generate (0: skip)")
      ->check(CLI::Range(0u, kRunTokensMost).description(""))
      ->type_name("N")
      ->capture_default_str();
  add_list(
      *app, "-d,--depth", bench.depths,
      "Tokens already in the cache when a prompt or an answer begins, e.g. 0,4096 (rounded up\n"
      "to whole blocks of it)",
      0, kTokensMost);
  add_list(*app, "--sequences", bench.sequences,
           "Answers that are generated together, e.g. 1,8,32: tokens/s of all and of each", 1,
           kSequencesMost);
  app->add_option("-r,--repetitions", bench.repetitions, "Runs; the median is reported")
      ->check(CLI::Range(1, 100).description(""))
      ->type_name("N")
      ->capture_default_str();
  app->add_flag(
      "--ladder", command->ladder,
      "At depths 0, 512, 1024, 2048 ... up to -d, or else up to the context; with a chart");
  app->add_option("--html", command->html, "Write a page with the figures and charts here")
      ->type_name("FILE");
  add_format_options(*app, command->format);
  add_model_options(*app, command->model);
  add_speculation_option(*app, command->model);
  return {app, [&context, command] { return run_bench(context, *command); }};
}

}  // namespace hadal
