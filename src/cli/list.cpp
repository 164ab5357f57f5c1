#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "base/json.h"
#include "base/sizes.h"
#include "cli/models_here.h"
#include "cli/pull_model.h"
#include "hub/caches/model_store.h"
#include "text/unicode.h"

namespace hadal {
namespace {

void print_table(Terminal& terminal, const std::vector<std::vector<std::string>>& table) {
  std::vector<size_t> widths;
  for (const auto& row : table) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  }
  for (const auto& row : table) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - display_width(row[i]) + 2, ' ');
    }
    while (line.ends_with(' ')) line.pop_back();
    terminal.write(line + "\n");
  }
}

Status list(CommandContext& context, bool as_json) {
  HADAL_TRY(const std::vector<ModelHere> models, models_here(context));
  if (as_json) {
    nlohmann::json list = nlohmann::json::array();
    for (const ModelHere& model : models) {
      list.push_back({{"name", model.name},
                      {"bytes", model.bytes},
                      {"path", model.path},
                      {"complete", model.complete},
                      {"shared_with", model.shared}});
    }
    context.terminal.write(list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
                           "\n");
    return {};
  }
  if (models.empty()) {
    context.terminal.say(
        fmt::format("No model yet. `hadal pull deepseek-r1:1.5b` fetches one, `hadal list "
                    "--available` shows more names; "
                    "a .gguf file or a Hugging Face folder put into {} is found too.",
                    ModelStore(context.environment.home).models_folder().string()));
    return {};
  }
  std::vector<std::vector<std::string>> table{{"NAME", "SIZE", "PATH", "SHARED WITH"}};
  for (const ModelHere& model : models) {
    table.push_back({model.name, model.complete ? format_bytes(model.bytes) : "incomplete",
                     model.path, model.shared});
  }
  print_table(context.terminal, table);
  return {};
}

Status list_available(CommandContext& context, bool as_json) {
  HADAL_TRY(const Catalogue catalogue,
            Catalogue::open(read_hub_environment(context.environment).options.catalogue_file()));
  nlohmann::json list = nlohmann::json::array();
  std::vector<std::vector<std::string>> table{{"NAME", "WHAT", "LICENCE"}};
  for (const CatalogueModel& model : catalogue.models()) {
    table.push_back({model.name, model.about, model.licence});
    nlohmann::json sources = nlohmann::json::array();
    for (const CatalogueSource& source : model.sources) {
      for (const ModelReference& at : source.at) sources.push_back(at.text());
    }
    list.push_back({{"name", model.name},
                    {"about", model.about},
                    {"licence", model.licence},
                    {"context", model.context},
                    {"sources", sources}});
  }
  if (as_json) {
    context.terminal.write(list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
                           "\n");
  } else {
    print_table(context.terminal, table);
  }
  return {};
}

}  // namespace

Command add_list(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "list", "Show the models you have, or the names you may pull\nExample: hadal list");
  auto as_json = std::make_shared<bool>(false), available = std::make_shared<bool>(false);
  app->add_flag("--json", *as_json, "As JSON");
  app->add_flag("--available", *available, "The catalogue: names that `hadal pull` knows");
  return {app, [&context, as_json, available] {
            return *available ? list_available(context, *as_json) : list(context, *as_json);
          }};
}

}  // namespace hadal
