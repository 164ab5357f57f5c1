#include "hub/caches/pulled_models.h"

#include <algorithm>
#include <cctype>
#include <system_error>

#include "base/json.h"
#include "file/json_tree.h"
#include "file/text_file.h"
#include "hub/disk/durable_file.h"
#include "hub/names/hub_names.h"
#include "hub/network/http_rules.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kRecordFileBytesMax = 8 << 20;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

Json to_json(const PulledModel& model) {
  Json json{{"version", 1},
            {"name", model.name},
            {"source", model.source},
            {"revision", model.revision},
            {"format", model.format},
            {"licence", model.licence},
            {"path", model.path.string()},
            {"pulled", model.pulled_unix_seconds},
            {"files", Json::array()}};
  if (model.bytes_per_s > 0) json["bytes_per_s"] = model.bytes_per_s;
  if (model.temperature) json["temperature"] = *model.temperature;
  if (model.top_p) json["top_p"] = *model.top_p;
  for (const PulledFile& file : model.files) {
    json["files"].push_back(
        {{"path", file.path.string()}, {"bytes", file.bytes}, {"ours", file.ours}});
  }
  return json;
}

std::optional<PulledModel> from_json(const std::string& text) {
  constexpr int kDepthMax = 8;
  const auto tree = read_json_tree(text, "record", kDepthMax);
  if (!tree) return std::nullopt;
  const Json& json = *tree;
  try {
    if (json.at("version") != 1) return std::nullopt;
    PulledModel model{.name = json.at("name"),
                      .source = json.at("source"),
                      .revision = json.at("revision"),
                      .format = json.at("format"),
                      .licence = json.at("licence"),
                      .path = json.at("path").get<std::string>(),
                      .files = {},
                      .temperature = {},
                      .top_p = {},
                      .pulled_unix_seconds = json.at("pulled")};
    if (json.contains("temperature")) model.temperature = json.at("temperature").get<double>();
    if (json.contains("top_p")) model.top_p = json.at("top_p").get<double>();
    if (json.contains("bytes_per_s")) model.bytes_per_s = json.at("bytes_per_s").get<double>();
    for (const Json& file : json.at("files")) {
      model.files.push_back({.path = file.at("path").get<std::string>(),
                             .bytes = file.at("bytes"),
                             .ours = file.at("ours")});
    }
    if (!check_model_name(model.name)) return std::nullopt;
    return model;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

uint64_t PulledModel::bytes() const {
  uint64_t sum = 0;
  for (const PulledFile& file : files) sum += file.bytes;
  return sum;
}

bool PulledModel::complete() const {
  return std::all_of(files.begin(), files.end(), [](const PulledFile& file) {
    std::error_code error;
    return fs::is_regular_file(file.path, error) && fs::file_size(file.path, error) == file.bytes &&
           !error;
  });
}

fs::path PulledModels::record(const std::string& name) const {
  return folder_ / (percent_encoded(lower_case(name), ":@=+") + ".json");
}

Result<std::vector<PulledModel>> PulledModels::list() const {
  std::vector<PulledModel> models;
  std::error_code error;
  if (!fs::exists(folder_, error)) return models;
  fs::directory_iterator entry(folder_, error);
  for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() != ".json") continue;
    const auto text = read_text_file(entry->path(), kRecordFileBytesMax);
    if (!text || !*text) continue;
    if (auto model = from_json(**text)) models.push_back(std::move(*model));
  }
  if (error) return fail("cannot read {}: {}", folder_.string(), error.message());
  std::sort(models.begin(), models.end(),
            [](const PulledModel& a, const PulledModel& b) { return a.name < b.name; });
  return models;
}

std::optional<PulledModel> PulledModels::find(std::string_view name) const {
  const auto models = list();
  if (!models) return std::nullopt;
  const std::string wanted = lower_case(name);
  std::optional<PulledModel> best;
  for (const PulledModel& model : *models) {
    const std::string own = lower_case(model.name);
    if (own == wanted) return model;
    if (own != wanted + ":" + lower_case(model.format)) continue;
    if (!best || model.pulled_unix_seconds > best->pulled_unix_seconds) best = model;
  }
  return best;
}

std::optional<PulledModel> PulledModels::find_by_path(const fs::path& path) const {
  const auto models = list();
  if (!models) return std::nullopt;
  for (const PulledModel& model : *models) {
    if (model.path == path) return model;
  }
  return std::nullopt;
}

Status PulledModels::save(const PulledModel& model) const {
  HADAL_TRY_VOID(check_model_name(model.name));
  HADAL_TRY_VOID(make_folders(folder_));
  const std::filesystem::path path = record(model.name);
  return write_durably(path, path.string() + ".tmp",
                       to_json(model).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status PulledModels::forget(const PulledModel& model) const {
  std::error_code error;
  fs::remove(record(model.name), error);
  if (error) return fail("cannot delete the record of {}: {}", model.name, error.message());
  return {};
}

}  // namespace hadal
