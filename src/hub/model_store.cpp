#include "hub/model_store.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

namespace hadal {
namespace {

namespace fs = std::filesystem;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// NAME-00002-of-00005 -> {NAME, 2}
struct SplitName {
  std::string name;
  int part;
};
std::optional<SplitName> split_name(const std::string& stem) {
  constexpr size_t kSuffix = sizeof("-00001-of-00005") - 1;
  if (stem.size() <= kSuffix) return std::nullopt;
  const std::string suffix = stem.substr(stem.size() - kSuffix);
  const auto digits = [&](size_t first) {
    return std::all_of(suffix.begin() + first, suffix.begin() + first + 5,
                       [](unsigned char c) { return std::isdigit(c) != 0; });
  };
  if (suffix[0] != '-' || suffix.substr(6, 4) != "-of-" || !digits(1) || !digits(10)) {
    return std::nullopt;
  }
  return SplitName{stem.substr(0, stem.size() - kSuffix), std::stoi(suffix.substr(1, 5))};
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
      const auto split = split_name(stem);
      StoredModel& model = models[split ? split->name : stem];
      model.name = split ? split->name : stem;
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
  std::string wanted = lower_case(model);
  if (wanted.ends_with(".gguf")) wanted.resize(wanted.size() - 5);
  std::vector<std::string> names;
  for (const StoredModel& stored : models) {
    if (lower_case(stored.name) == wanted) return stored.path;
    names.push_back(stored.name);
  }
  if (exists) return direct;  // some folder; whoever opens it says what it lacks
  if (names.empty()) {
    return fail(
        "{}: no such file or folder, and there is no model in {}. Give the path of a .gguf file or "
        "of a Hugging Face "
        "folder; `scripts/demo` in hadal's source tree fetches a small model to try.",
        model, models_folder().string());
  }
  return fail("{}: no such file or folder, and no such model in {}. Models there: {}.", model,
              models_folder().string(), fmt::join(names, ", "));
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
      "there is no model in {} yet. `scripts/demo` in hadal's source tree fetches a small one; or "
      "`hadal run FILE.gguf`.",
      models_folder().string());
}

}  // namespace hadal
