#include "hub/caches/model_store.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include "hub/sites/model_variants.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

uint64_t folder_bytes(const fs::path& folder) {
  uint64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) total += entry->file_size(ignored);
  }
  return total;
}

}  // namespace

Result<std::vector<StoredModel>> ModelStore::list() const {
  std::map<std::string, StoredModel> models;
  const fs::path folder = models_folder();
  std::error_code error;
  if (!fs::exists(folder, error)) {
    if (error) return fail("cannot read the model folder {}: {}", folder.string(), error.message());
    return std::vector<StoredModel>{};
  }
  fs::directory_iterator entry(folder, error);
  for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
    const fs::path& path = entry->path();
    std::error_code ignored;
    if (entry->is_directory(ignored)) {
      if (!fs::exists(path / "config.json", ignored)) continue;
      const std::string name = path.filename().string();
      models[name] = {name, path, folder_bytes(path)};
    } else if (path.extension() == ".gguf") {
      const std::string stem = path.stem().string();
      const uint64_t bytes = entry->file_size(ignored);
      const auto split = parse_split_name(stem);
      StoredModel& model = models[split ? split->stem : stem];
      model.name = split ? split->stem : stem;
      model.bytes += bytes;
      if (!split || split->part == 1 || model.path.empty()) model.path = path;
    }
  }
  if (error) return fail("cannot read the model folder {}: {}", folder.string(), error.message());
  std::vector<StoredModel> sorted;
  for (auto& [name, model] : models) sorted.push_back(std::move(model));
  return sorted;
}

Result<fs::path> ModelStore::resolve(std::string_view model) const {
  if (model.empty())
    return fail("the model's name is empty. `hadal list` shows the models you have.");
  std::error_code error;
  const fs::path direct(model);
  const bool exists = fs::exists(direct, error);
  const bool is_model =
      !fs::is_directory(direct, error) || fs::exists(direct / "config.json", error);
  if (exists && is_model) return direct;
  HADAL_TRY(const std::vector<StoredModel> models, list());
  std::vector<std::string> names;
  for (const StoredModel& stored : models) {
    if (same_name(stored.name, model)) return stored.path;
    names.push_back(stored.name);
  }
  if (exists) return direct;  // some folder; whoever opens it says what it lacks
  if (names.empty()) {
    return fail(
        "{}: no such file or folder, and there is no model in {}. Give the path of a .gguf file or "
        "of a Hugging Face folder, or a name of `hadal list --available`, which is fetched; "
        "`scripts/demo` in hadal's source tree fetches a small model to try.",
        model, models_folder().string());
  }
  return fail(
      "{}: no such file or folder, and no such model in {}. Models there: {}. `hadal list "
      "--available` shows names that can be pulled.",
      model, models_folder().string(), fmt::join(names, ", "));
}

Result<fs::path> ModelStore::default_model() const {
  HADAL_TRY(const std::vector<StoredModel> models, list());
  for (const std::string_view wanted : {kDemoModel, kTinyModel}) {
    for (const StoredModel& stored : models) {
      if (lower_case(stored.name) == wanted) return stored.path;
    }
  }
  if (!models.empty()) {
    return fail("which model? `hadal run NAME`; `hadal list` shows the {} you have.",
                models.size());
  }
  return fail(
      "there is no model in {} yet. `hadal run deepseek-r1:1.5b` fetches one and chats; `hadal run "
      "FILE.gguf` takes your "
      "own; `scripts/demo` in hadal's source tree fetches a small one to try.",
      models_folder().string());
}

bool ModelStore::same_name(std::string_view stored, std::string_view given) {
  std::string wanted = lower_case(given);
  if (wanted.ends_with(".gguf")) wanted.resize(wanted.size() - 5);
  return lower_case(stored) == wanted;
}

Result<uint64_t> ModelStore::remove(const StoredModel& model) const {
  std::error_code error;
  if (fs::is_directory(fs::symlink_status(model.path, error))) {
    fs::remove_all(model.path, error);
    if (error) return fail("cannot delete {}: {}", model.path.string(), error.message());
    return model.bytes;
  }
  const auto split = parse_split_name(model.path.stem().string());
  std::vector<fs::path> parts;
  fs::directory_iterator entry(models_folder(), error);
  for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
    const auto other = parse_split_name(entry->path().stem().string());
    const bool part =
        split ? entry->path().extension() == ".gguf" && other && other->stem == split->stem
              : entry->path() == model.path;
    if (part) parts.push_back(entry->path());
  }
  for (const fs::path& part : parts) {
    fs::remove(part, error);
    if (error) return fail("cannot delete {}: {}", part.string(), error.message());
  }
  return model.bytes;
}

}  // namespace hadal
