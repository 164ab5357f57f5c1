#include "hub/names/catalogue.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/json.h"
#include "file/json_tree.h"
#include "file/text_file.h"

namespace hadal {
namespace {

using Json = nlohmann::json;

constexpr int kDepthMax = 8;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

Result<std::string> text_of(const Json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return std::string();
  if (!found->is_string()) return fail("{}: \"{}\" must be a text", where, key);
  return found->get<std::string>();
}

Result<uint64_t> count_of(const Json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return uint64_t{0};
  constexpr uint64_t kCountMax = 1 << 30;
  if (!found->is_number_unsigned() || found->get<uint64_t>() > kCountMax) {
    return fail("{}: \"{}\" must be a whole number up to {}", where, key, kCountMax);
  }
  return found->get<uint64_t>();
}

Result<std::vector<std::string>> texts_of(const Json& object, const char* key,
                                          const std::string& where) {
  std::vector<std::string> texts;
  const auto found = object.find(key);
  if (found == object.end()) return texts;
  constexpr size_t kTextsMax = 256;
  if (!found->is_array() || found->size() > kTextsMax)
    return fail("{}: \"{}\" must be a list of at most {} texts", where, key, kTextsMax);
  for (const Json& one : *found) {
    if (!one.is_string()) return fail("{}: \"{}\" must be a list of texts", where, key);
    texts.push_back(one.get<std::string>());
  }
  return texts;
}

Result<std::optional<double>> fraction_of(const Json& sampling, const char* key, double most,
                                          const std::string& where) {
  const auto found = sampling.find(key);
  if (found == sampling.end()) return std::optional<double>();
  const double value = found->is_number() ? found->get<double>() : -1;
  if (!(value >= 0 && value <= most))
    return fail("{}: \"{}\" must be a number from 0 to {}", where, key, most);
  return std::optional<double>(value);
}

Result<CatalogueSource> read_source(const Json& json, const std::string& where) {
  if (!json.is_object()) return fail("{}: a source must be an object", where);
  CatalogueSource source;
  HADAL_TRY(source.format, text_of(json, "format", where));
  if (source.format.empty()) source.format = "gguf";
  if (const Status good = check_repository_path(source.format); !good) {
    return fail("{}: {}", where, good.error().message);
  }
  HADAL_TRY(const std::vector<std::string> at, texts_of(json, "at", where));
  for (const std::string& text : at) {
    auto reference = parse_model_reference(text);
    if (!reference) return fail("{}: {}", where, reference.error().message);
    source.at.push_back(std::move(*reference));
  }
  if (source.at.empty()) return fail("{}: a source needs \"at\"", where);
  return source;
}

Result<CatalogueModel> read_model(const Json& json, const std::string& from) {
  if (!json.is_object()) return fail("{}: a model must be an object", from);
  CatalogueModel model;
  HADAL_TRY(model.name, text_of(json, "name", from));
  if (const Status good = check_model_name(model.name); !good)
    return fail("{}: {}", from, good.error().message);
  const std::string where = fmt::format("{}: {}", from, model.name);
  HADAL_TRY(model.about, text_of(json, "about", where));
  HADAL_TRY(model.licence, text_of(json, "licence", where));
  HADAL_TRY(model.context, count_of(json, "context", where));
  HADAL_TRY(model.kv_bytes_per_token, count_of(json, "kv_bytes_per_token", where));
  HADAL_TRY(model.formats, texts_of(json, "formats", where));
  const auto sampling = json.find("sampling");
  if (sampling != json.end()) {
    if (!sampling->is_object()) return fail("{}: \"sampling\" must be an object", where);
    HADAL_TRY(model.temperature, fraction_of(*sampling, "temperature", 2, where));
    HADAL_TRY(model.top_p, fraction_of(*sampling, "top_p", 1, where));
  }
  const auto sources = json.find("sources");
  constexpr size_t kSourcesMax = 64;
  if (sources == json.end() || !sources->is_array() || sources->empty() ||
      sources->size() > kSourcesMax) {
    return fail("{}: \"sources\" must be a list of 1 to {} sources", where, kSourcesMax);
  }
  for (const Json& one : *sources) {
    HADAL_TRY(CatalogueSource source, read_source(one, where));
    model.sources.push_back(std::move(source));
  }
  return model;
}

}  // namespace

Result<Catalogue> Catalogue::open(const std::filesystem::path& users_file) {
  Catalogue catalogue;
  HADAL_TRY_VOID(catalogue.add(built_in_catalogue(), "the built-in catalogue"));
  if (users_file.empty()) return catalogue;
  HADAL_TRY(const auto text, read_text_file(users_file, kFileBytesMax));
  if (text) HADAL_TRY_VOID(catalogue.add(*text, users_file.string()));
  return catalogue;
}

Status Catalogue::add(std::string_view text, const std::string& from) {
  HADAL_TRY(const Json json, read_json_tree(text, from, kDepthMax));
  if (!json.is_object()) return fail("{}: is no catalogue: an object was expected", from);
  if (json.value("version", Json(0)) != Json(1))
    return fail("{}: \"version\": 1 was expected", from);
  const auto models = json.find("models");
  if (models == json.end() || !models->is_array() || models->size() > kModelsMax) {
    return fail("{}: \"models\" must be a list of at most {} models", from, kModelsMax);
  }
  std::vector<CatalogueModel> read;
  for (const Json& one : *models) {
    HADAL_TRY(CatalogueModel model, read_model(one, from));
    std::erase_if(models_, [&](const CatalogueModel& old) {
      return lower_case(old.name) == lower_case(model.name);
    });
    read.push_back(std::move(model));
  }
  std::move(read.begin(), read.end(), std::back_inserter(models_));
  return {};
}

std::optional<Catalogue::Found> Catalogue::find(std::string_view name) const {
  const std::string wanted = lower_case(name);
  for (const CatalogueModel& model : models_) {
    if (lower_case(model.name) == wanted) return Found{&model, ""};
  }
  const size_t colon = wanted.rfind(':');
  if (colon == std::string::npos || colon + 1 == wanted.size()) return std::nullopt;
  for (const CatalogueModel& model : models_) {
    if (lower_case(model.name) == wanted.substr(0, colon))
      return Found{&model, wanted.substr(colon + 1)};
  }
  return std::nullopt;
}

std::vector<std::string> Catalogue::similar(std::string_view name) const {
  const std::string wanted = lower_case(name);
  const std::string family = wanted.substr(0, wanted.find(':'));
  std::vector<std::string> names;
  for (const CatalogueModel& model : models_) {
    const std::string own = lower_case(model.name);
    if (!family.empty() &&
        (own.starts_with(family) || family.starts_with(own.substr(0, own.find(':')))))
      names.push_back(model.name);
  }
  return names;
}

}  // namespace hadal
