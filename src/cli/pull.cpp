#include <CLI/CLI.hpp>
#include <chrono>

#include "base/memory_limits.h"
#include "base/sizes.h"
#include "cli/line_editor.h"
#include "cli/pull_model.h"
#include "hub/caches/model_store.h"
#include "hub/transfer/speed_meter.h"

namespace hadal {
namespace {

using Clock = std::chrono::steady_clock;

struct PullCommand {
  std::string model, limit_rate;
  std::vector<std::string> mirrors;
  double timeout_s = NetworkOptions{}.stall_s;
  uint32_t retries = NetworkOptions{}.retries, connections = TransferRules{}.connections_max;
};

// "500K", "2M", "1.5G" bytes a second, as curl's --limit-rate has it (powers of 1024).
Result<uint64_t> parse_rate(const std::string& text) {
  if (text.empty()) return uint64_t{0};
  size_t end = 0;
  double value = -1;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  const std::string unit = text.substr(end);
  double factor = 0;
  if (unit.empty()) factor = 1;
  if (unit == "k" || unit == "K") factor = 1024;
  if (unit == "m" || unit == "M") factor = 1 << 20;
  if (unit == "g" || unit == "G") factor = 1 << 30;
  constexpr double kRateMax = 1e12;
  if (end == 0 || factor == 0 || !(value * factor >= 1 && value * factor <= kRateMax)) {
    return fail("--limit-rate {}: bytes a second were expected, e.g. 500K or 2M", text);
  }
  return static_cast<uint64_t>(value * factor);
}

// A bar that is rewritten in place; where there is no terminal, a line now and then.
class PullDisplay {
 public:
  PullDisplay(Terminal& terminal, bool moving_lines)
      : terminal_(terminal), moves_(moving_lines && terminal.notices_are_terminal()) {}

  void show(const PullProgress& progress) {
    const auto now = Clock::now();
    const double fraction =
        progress.bytes_total == 0
            ? 1
            : static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes_total);
    if (moves_) {
      constexpr std::chrono::milliseconds kRefresh{100};
      if (now - shown_ < kRefresh) return;
      shown_ = now;
      terminal_.progress(words(progress), fraction);
      return;
    }
    // The first line soon, when the speed is known; then every tenth, but not more often than every
    // few seconds nor more seldom than every minute.
    constexpr std::chrono::seconds kFirst{3}, kOften{5}, kSeldom{60};
    if (!begun_) shown_ = now;
    const int tenth = static_cast<int>(fraction * 10);
    const bool due = !lines_ ? now - shown_ > kFirst
                             : (tenth > tenth_ && now - shown_ > kOften) || now - shown_ > kSeldom;
    begun_ = true;
    if (!due) return;
    lines_ = true;
    shown_ = now;
    tenth_ = tenth;
    terminal_.say(fmt::format("{:.0f}% {}", 100 * fraction, words(progress)));
  }

 private:
  static std::string words(const PullProgress& progress) {
    std::string text = fmt::format("{} of {}", format_bytes(progress.bytes_done),
                                   format_bytes(progress.bytes_total));
    if (progress.checking) return text + ", checking";
    if (progress.bytes_per_s > 0)
      text += fmt::format(", {}/s", format_bytes(static_cast<uint64_t>(progress.bytes_per_s)));
    if (progress.seconds_left)
      text += fmt::format(", {} left", format_duration(*progress.seconds_left));
    if (progress.waiting) text += " (by another program)";
    return text;
  }

  Terminal& terminal_;
  bool moves_;
  Clock::time_point shown_{};
  bool begun_ = false, lines_ = false;
  int tenth_ = 0;
};

Status pull(CommandContext& context, const PullCommand& command) {
  HADAL_TRY(HubOptions options, hub_options(context));
  HADAL_TRY(options.limit_bytes_per_s, parse_rate(command.limit_rate));
  for (const std::string& mirror : command.mirrors) {
    HADAL_TRY(std::string endpoint, normal_endpoint(mirror));
    options.mirrors.push_back(
        {.kind = HubSite::Kind::kHuggingFace, .endpoint = std::move(endpoint), .token = {}});
  }
  options.network.stall_s = command.timeout_s;
  options.network.retries = command.retries;
  options.rules.connections_max = command.connections;
  HADAL_TRY(const PulledModel model, pull_and_show(context, command.model, options));
  context.terminal.say(fmt::format("Next: hadal run {}", model.name));
  return {};
}

}  // namespace

Result<HubOptions> hub_options(const CommandContext& context) {
  HubEnvironment surroundings = read_hub_environment(context.environment);
  if (!surroundings.problem.empty()) return fail("{}", surroundings.problem);
  HubOptions options = std::move(surroundings.options);
  options.network.user_agent = std::string("hadal/") + HADAL_VERSION;
  options.network.stop = [] { return InterruptCatcher::interrupted(); };
  options.free_memory_bytes = available_memory_bytes();
  return options;
}

Result<PulledModel> pull_and_show(CommandContext& context, const std::string& name,
                                  const HubOptions& options) {
  const InterruptCatcher catcher;
  InterruptCatcher::reset();
  PullDisplay display(context.terminal, !context.environment.dumb_terminal);
  const auto begin = Clock::now();
  uint64_t fetched_from = UINT64_MAX;
  PullCallbacks callbacks;
  callbacks.say = [&](const std::string& sentence) {
    context.terminal.say(without_controls(sentence));
  };
  callbacks.progress = [&](const PullProgress& progress) {
    if (fetched_from == UINT64_MAX) fetched_from = progress.bytes_done;
    display.show(progress);
  };
  auto model = pull_model(name, options, callbacks);
  context.terminal.clear_progress();
  if (!model) {
    if (InterruptCatcher::interrupted())
      return fail("stopped. What was fetched is kept: the same command goes on from there");
    return model;
  }
  if (fetched_from != UINT64_MAX) {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const uint64_t total = model->bytes(), fetched = total - std::min(total, fetched_from);
    context.terminal.say(fmt::format(
        "{}: {} in {} ({}/s); it lies at {}", model->name, format_bytes(total),
        format_duration(seconds),
        format_bytes(static_cast<uint64_t>(static_cast<double>(fetched) / std::max(seconds, 1e-3))),
        model->path.string()));
  }
  return model;
}

Result<std::filesystem::path> find_model(const CommandContext& context, const std::string& model) {
  const ModelStore store(context.environment.home);
  if (model.empty()) {
    const auto demo = PulledModels(context.environment.home).find(ModelStore::kDemoModel);
    if (demo && demo->complete()) return demo->path;
    return store.default_model();
  }
  auto path = store.resolve(model);
  if (path) return path;
  const HubOptions hub = read_hub_environment(context.environment).options;
  const auto here = find_on_disk(model, hub);
  if (!here) return forward_error(here);
  if (*here) return (*here)->path;
  if (!can_be_pulled(model, hub)) return path;
  return fail("{} is not on this machine yet: `hadal pull {}` fetches it", model, model);
}

Result<std::filesystem::path> find_or_pull(CommandContext& context, const std::string& model) {
  auto path = find_model(context, model);
  const bool pulls = !path && !model.empty() &&
                     can_be_pulled(model, read_hub_environment(context.environment).options);
  if (!pulls) return path;
  HADAL_TRY(const HubOptions options, hub_options(context));
  HADAL_TRY(const PulledModel pulled, pull_and_show(context, model, options));
  return pulled.path;
}

Command add_pull(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "pull",
      "Fetch a model by name: from Hugging Face, ModelScope, a mirror or an address\n"
      "Example: hadal pull deepseek-r1:1.5b\n"
      "         hadal pull hf:owner/repo:q4_k_m      ms:owner/repo      https://host/file.gguf     "
      " ./folder");
  auto command = std::make_shared<PullCommand>();
  app->add_option("model", command->model,
                  "A name (`hadal list --available`), NAME:FORMAT, "
                  "hf:OWNER/REPO[:FORMAT],\nms:OWNER/REPO, an address, or a path")
      ->required();
  app->add_option("--limit-rate", command->limit_rate, "Bytes a second at most, e.g. 500K or 2M")
      ->envname("HADAL_LIMIT_RATE")
      ->type_name("RATE");
  app->add_option(
         "--mirror", command->mirrors,
         "Another address that serves as huggingface.co does (repeatable; it gets no token)")
      ->allow_extra_args(false)
      ->type_name("URL");
  app->add_option("--timeout", command->timeout_s,
                  "Seconds without a byte after which a connection is replaced")
      ->check(CLI::Range(1.0, 3600.0).description(""))
      ->type_name("S")
      ->capture_default_str();
  app->add_option("--retries", command->retries,
                  "Failures one after another after which a source is left")
      ->check(CLI::Range(0, 1000).description(""))
      ->type_name("N")
      ->capture_default_str();
  app->add_option("--connections", command->connections, "Connections at the same time")
      ->check(CLI::Range(1, 64).description(""))
      ->type_name("N")
      ->capture_default_str();
  return {app, [&context, command] { return pull(context, *command); }};
}

}  // namespace hadal
