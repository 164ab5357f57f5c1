#include <CLI/CLI.hpp>
#include <system_error>

#include "base/sizes.h"
#include "cli/pull_model.h"
#include "hub/caches/model_store.h"

namespace hadal {
namespace {

Status remove_stored(CommandContext& context, const ModelStore& store, const std::string& name) {
  HADAL_TRY(const std::vector<StoredModel> models, store.list());
  for (const StoredModel& model : models) {
    if (!ModelStore::same_name(model.name, name)) continue;
    HADAL_TRY(const uint64_t freed, store.remove(model));
    context.terminal.say(fmt::format("{} is gone; {} freed", model.name, format_bytes(freed)));
    return {};
  }
  return fail(
      "no model {} to remove. `hadal list` shows those you have; files outside of hadal's folders "
      "are yours to delete",
      name);
}

Status remove(CommandContext& context, const std::string& name) {
  const PulledModels pulled(context.environment.home);
  const auto model = pulled.find(name);
  if (!model) return remove_stored(context, ModelStore(context.environment.home), name);
  HADAL_TRY(const Removal removal,
            remove_model(*model, read_hub_environment(context.environment).options));
  context.terminal.say(
      fmt::format("{} is gone; {} freed", model->name, format_bytes(removal.bytes_freed)));
  for (const std::string& note : removal.notes) context.terminal.say(note);
  return {};
}

}  // namespace

Command add_rm(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "rm",
      "Remove a model: its name, and the files that hadal fetched and nothing else uses\n"
      "Example: hadal rm deepseek-r1:1.5b");
  auto names = std::make_shared<std::vector<std::string>>();
  app->add_option("model", *names, "A name from `hadal list`")->required();
  return {app, [&context, names]() -> Status {
            for (const std::string& name : *names) HADAL_TRY_VOID(remove(context, name));
            return {};
          }};
}

}  // namespace hadal
