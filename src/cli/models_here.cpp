#include "cli/models_here.h"

#include <fmt/ranges.h>

#include <set>

#include "cli/pull_model.h"
#include "hub/caches/model_store.h"

namespace hadal {

Result<std::vector<ModelHere>> models_here(const CommandContext& context) {
  const HubOptions hub = read_hub_environment(context.environment).options;
  std::vector<ModelHere> models;
  HADAL_TRY(const std::vector<StoredModel> stored, ModelStore(context.environment.home).list());
  for (const StoredModel& model : stored)
    models.push_back({model.name, model.path.string(), "", model.bytes});
  HADAL_TRY(const std::vector<PulledModel> pulled, PulledModels(context.environment.home).list());
  std::set<std::filesystem::path> shown;
  for (const PulledModel& model : pulled) {
    shown.insert(model.path);
    models.push_back(
        {model.name, model.path.string(),
         fmt::format("{}", fmt::join(sharers(model.path, model.name, pulled, hub), ", ")),
         model.bytes(), model.complete()});
  }
  for (const PulledModel& model : models_in_hugging_face_cache(hub)) {
    if (shown.contains(model.path)) continue;
    models.push_back({model.name, model.path.string(), "huggingface_hub", model.bytes()});
  }
  return models;
}

}  // namespace hadal
