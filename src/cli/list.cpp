#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/sizes.h"
#include "cli/command_line.h"
#include "hub/model_store.h"
#include "text/unicode.h"

namespace hadal {

Command add_list(CLI::App& application, CommandContext& context) {
  CLI::App* app =
      application.add_subcommand("list", "Show the models you have\nExample: hadal list");
  auto as_json = std::make_shared<bool>(false);
  app->add_flag("--json", *as_json, "As JSON");
  return {app, [&context, as_json]() -> Status {
            const ModelStore store(context.environment.home);
            HADAL_TRY(const std::vector<StoredModel> models, store.list());
            if (*as_json) {
              nlohmann::json list = nlohmann::json::array();
              for (const StoredModel& model : models) {
                list.push_back(
                    {{"name", model.name}, {"bytes", model.bytes}, {"path", model.path.string()}});
              }
              context.terminal.write(
                  list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
              return {};
            }
            if (models.empty()) {
              context.terminal.say(
                  fmt::format("No model in {} yet. Put a .gguf file or a Hugging Face folder "
                              "there, or run `scripts/demo`.",
                              store.models_folder().string()));
              return {};
            }
            size_t widest = 4;
            for (const StoredModel& model : models)
              widest = std::max(widest, display_width(model.name));
            const auto row = [&](std::string_view name, std::string_view size,
                                 std::string_view path) {
              const std::string gap(widest - display_width(name), ' ');
              context.terminal.write(fmt::format("{}{}  {:>8}  {}\n", name, gap, size, path));
            };
            row("NAME", "SIZE", "PATH");
            for (const StoredModel& model : models) {
              row(model.name, format_bytes(model.bytes), model.path.string());
            }
            return {};
          }};
}

}  // namespace hadal
