// From a name to a model on disk. `pull_model` does all of it: who has the model, which format, is
// there room, fetch, check, put in its place, remember. What is there already is not fetched again:
// neither hadal's own files nor what the hubs' Python clients have in their caches.
//
// Runs on the caller's thread (helpers end with the call); callbacks come on it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "hub/caches/pulled_models.h"
#include "hub/hub_options.h"
#include "hub/names/catalogue.h"

namespace hadal {

struct PullProgress {
  uint64_t bytes_done = 0, bytes_total = 0;  // of the whole model
  double bytes_per_s = 0;                    // 0: not known yet
  std::optional<double> seconds_left;
  std::string from;       // the source of the newest bytes
  bool waiting = false;   // another process fetches it; these are its figures
  bool checking = false;  // digests are computed, nothing is fetched
};

struct PullCallbacks {
  std::function<void(const std::string& sentence)> say = [](const std::string&) {};
  std::function<void(const PullProgress&)> progress = [](const PullProgress&) {};
};

// A name of the catalogue, a reference (model_reference.h), or the path of a GGUF or a folder,
// which is only remembered where it lies. Errors: sentences that say what to do.
Result<PulledModel> pull_model(const std::string& name, const HubOptions& options,
                               const PullCallbacks& callbacks);

// What lies on this machine of that name or reference, whoever fetched it: hadal's own record, the
// Hugging Face cache, ModelScope's. nullopt: nothing that is whole. Asks nobody.
Result<std::optional<PulledModel>> find_on_disk(const std::string& name, const HubOptions& options);

// Whether `name` could be pulled: a reference, or a name of the catalogue.
bool can_be_pulled(const std::string& name, const HubOptions& options);

// Every model of the Hugging Face cache that hadal could run, whoever fetched it.
std::vector<PulledModel> models_in_hugging_face_cache(const HubOptions& options);

// Who else uses what lies at `path`: other names among `pulled`, the hubs' own clients.
std::vector<std::string> sharers(const std::filesystem::path& path, const std::string& name,
                                 const std::vector<PulledModel>& pulled, const HubOptions& options);

struct Removal {
  uint64_t bytes_freed = 0;
  std::vector<std::string> notes;  // what stayed, and why
};
// Forgets a pulled model and deletes the files that hadal fetched and no other record uses.
Result<Removal> remove_model(const PulledModel& model, const HubOptions& options);

}  // namespace hadal
