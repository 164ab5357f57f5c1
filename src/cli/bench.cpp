#include "measure/bench.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/sizes.h"
#include "cli/command_line.h"

namespace hadal {
namespace {

struct BenchCommand {
  ModelOptions model;
  BenchOptions bench;
  bool json = false;
};

nlohmann::json as_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.least}, {"max", spread.most}};
}

nlohmann::json as_json(const BenchReport& report, const EngineInfo& info,
                       const DeviceInfo& device) {
  nlohmann::json result = {
      {"architecture", info.architecture},
      {"weight_bytes", info.weight_bytes},
      {"load_seconds", info.load_seconds},
      {"device", device.name},
      {"device_description", device.description},
      {"instruction_set", device.instruction_set},
      {"threads", device.threads},
      {"repetitions", report.repetitions},
      {"read_bytes_per_s", as_json(report.read_bytes_per_s)},
      {"peak_memory_bytes", report.peak_memory_bytes},
  };
  if (report.prompt_tokens > 0) {
    result["prompt"] = {{"tokens", report.prompt_tokens},
                        {"tokens_per_s", as_json(report.prompt_tokens_per_s)},
                        {"time_to_first_token_s", as_json(report.time_to_first_token_s)}};
  }
  if (report.decode_tokens > 0) {
    result["decode"] = {{"tokens", report.decode_tokens},
                        {"tokens_per_s", as_json(report.decode_tokens_per_s)},
                        {"bytes_per_token", report.decode_bytes_per_token},
                        {"bytes_per_s", report.decode_bytes_per_s},
                        {"bandwidth_percent", report.bandwidth_percent},
                        {"drafted_tokens", report.drafted_tokens},
                        {"accepted_tokens", report.accepted_tokens}};
  }
  return result;
}

Status run_bench(CommandContext& context, const BenchCommand& command) {
  ModelOptions model = command.model;
  if (model.context_tokens == 0) {
    model.context_tokens =
        std::max({command.bench.prompt_tokens, command.bench.decode_tokens, 64u}) + 8;
  }
  HADAL_TRY(const auto generator, open_model(context, model));
  Engine& engine = generator->engine();
  const auto progress = [&](const BenchProgress& now) {
    context.terminal.progress(fmt::format("measuring: {}", now.stage), now.done);
  };
  auto measured = bench(engine, command.bench, progress);
  context.terminal.clear_progress();
  HADAL_TRY(const BenchReport report, std::move(measured));
  const DeviceInfo& device = engine.devices().front()->info();
  Terminal& terminal = context.terminal;
  if (command.json) {
    terminal.write(as_json(report, engine.info(), device).dump(2) + "\n");
    return {};
  }
  const auto line = [&](std::string_view name, const std::string& text) {
    terminal.write(fmt::format("{:<22}{}\n", name, text));
  };
  line("model",
       fmt::format("{}, {}, loaded in {:.2f} s", generator->file().path().filename().string(),
                   format_bytes(engine.info().weight_bytes), engine.info().load_seconds));
  line("device", fmt::format("{}: {}", device.name, device.description));
  line("memory bandwidth",
       fmt::format("{:.1f} GB/s read ({:.1f} to {:.1f})", report.read_bytes_per_s.median / 1e9,
                   report.read_bytes_per_s.least / 1e9, report.read_bytes_per_s.most / 1e9));
  if (report.prompt_tokens > 0) {
    const Spread& speed = report.prompt_tokens_per_s;
    line(fmt::format("prompt {}", report.prompt_tokens),
         fmt::format("{:.1f} tokens/s ({:.1f} to {:.1f}); first token after {:.3f} s", speed.median,
                     speed.least, speed.most, report.time_to_first_token_s.median));
  }
  if (report.decode_tokens > 0) {
    const Spread& speed = report.decode_tokens_per_s;
    line(fmt::format("decode {}", report.decode_tokens),
         fmt::format("{:.1f} tokens/s ({:.1f} to {:.1f}); {:.1f} GB/s, {:.0f}% of the bandwidth",
                     speed.median, speed.least, speed.most, report.decode_bytes_per_s / 1e9,
                     report.bandwidth_percent));
    if (report.drafted_tokens > 0) {
      line("guesses", fmt::format("{} tokens, {} of them right", report.drafted_tokens,
                                  report.accepted_tokens));
    }
  }
  line("peak memory", format_bytes(report.peak_memory_bytes));
  return {};
}

}  // namespace

Command add_bench(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "bench",
      "Measure speed beside the machine's limit\nExample: hadal bench MODEL -p 512 -n 128");
  auto command = std::make_shared<BenchCommand>();
  app->add_option("model", command->model.model,
                  "A name from `hadal list`, a .gguf file or a folder");
  app->add_option("-p,--prompt-tokens", command->bench.prompt_tokens, "Prompt length (0: skip)")
      ->check(CLI::Range(0u, 1u << 20).description(""))
      ->type_name("N")
      ->capture_default_str();
  app->add_option("-n,--decode-tokens", command->bench.decode_tokens,
                  "Tokens to generate (0: skip)")
      ->check(CLI::Range(0u, 1u << 20).description(""))
      ->type_name("N")
      ->capture_default_str();
  app->add_option("-r,--repetitions", command->bench.repetitions, "Runs; the median is reported")
      ->check(CLI::Range(1, 100).description(""))
      ->type_name("N")
      ->capture_default_str();
  app->add_flag("--json", command->json, "As JSON");
  add_model_options(*app, command->model);
  add_speculation_option(*app, command->model);
  return {app, [&context, command] { return run_bench(context, *command); }};
}

}  // namespace hadal
