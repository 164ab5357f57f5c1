// What lies on this machine already, and taking it away: the part of pull.h that asks nobody.
#include <algorithm>
#include <set>
#include <system_error>

#include "base/sizes.h"
#include "file/text_file.h"
#include "file/weight_index.h"
#include "hub/caches/hugging_face_cache.h"
#include "hub/caches/modelscope_cache.h"
#include "hub/pull.h"
#include "hub/sites/model_variants.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

// All shards that the index names, or one file of weights.
bool folder_is_whole(const fs::path& folder, const Listing& listing) {
  std::set<std::string> names;
  for (const HubFile& file : listing.files) names.insert(file.path);
  const auto index = read_text_file(folder / "model.safetensors.index.json", kWeightIndexBytesMax);
  if (!index) return false;
  if (!*index) return names.contains("model.safetensors");
  const auto shards = read_weight_index(**index, "index");
  if (!shards) return false;
  return std::all_of(shards->begin(), shards->end(),
                     [&](const auto& entry) { return names.contains(entry.second); });
}

// Those variants of a folder's files that are whole.
std::vector<ModelVariant> whole_variants(const fs::path& folder, const Listing& listing) {
  std::vector<ModelVariant> variants = find_variants(listing);
  std::erase_if(variants, [&](const ModelVariant& variant) {
    return variant.folder && !folder_is_whole(folder, listing);
  });
  return variants;
}

PulledModel describe(const std::string& source, const fs::path& folder, const Listing& listing,
                     const ModelVariant& variant) {
  PulledModel model{.name = source + ":" + variant.format,
                    .source = source,
                    .revision = listing.revision,
                    .format = variant.format};
  for (const HubFile& file : variant.files)
    model.files.push_back({folder / file.path, file.bytes, false});
  model.path = variant.folder ? folder : model.files.front().path;
  return model;
}

std::optional<PulledModel> find_reference(const ModelReference& reference,
                                          const std::string& format, const HubOptions& options) {
  std::optional<Listing> listing;
  fs::path folder;
  std::string source;
  if (reference.kind == ModelReference::Kind::kHuggingFace) {
    const HuggingFaceCache cache(options.hugging_face_cache);
    const auto commit = cache.commit(reference.repository,
                                     reference.revision.empty() ? "main" : reference.revision);
    if (!commit) return std::nullopt;
    listing = cache.cached_files(reference.repository, *commit);
    folder = cache.snapshot(reference.repository, *commit);
    source = "hf:" + reference.repository;
  } else if (reference.kind == ModelReference::Kind::kModelScope) {
    const ModelScopeCache cache(options.modelscope_cache);
    const std::string revision = reference.revision.empty() ? "master" : reference.revision;
    listing = cache.cached_files(reference.repository, revision);
    if (!listing) return std::nullopt;
    folder = cache.folders(reference.repository, revision).front();
    source = "ms:" + reference.repository;
  }
  if (!listing) return std::nullopt;
  const std::vector<ModelVariant> variants = whole_variants(folder, *listing);
  if (variants.empty()) return std::nullopt;
  if (format.empty()) return describe(source, folder, *listing, variants.front());
  const auto choice = choose_variant(variants, {.format = format}, source);
  if (!choice) return std::nullopt;
  return describe(source, folder, *listing, *choice->variant);
}

}  // namespace

Result<std::optional<PulledModel>> find_on_disk(const std::string& name,
                                                const HubOptions& options) {
  const PulledModels pulled(options.home);
  if (auto model = pulled.find(name); model && model->complete()) return model;
  if (looks_like_reference(name)) {
    HADAL_TRY(const ModelReference reference, parse_model_reference(name));
    if (auto model = pulled.find(reference.text()); model && model->complete()) return model;
    return find_reference(reference, reference.format, options);
  }
  HADAL_TRY(const Catalogue catalogue, Catalogue::open(options.catalogue_file()));
  const auto found = catalogue.find(name);
  if (!found) return std::nullopt;
  for (const CatalogueSource& source : found->model->sources) {
    const bool named = source.format == found->format;
    if (!found->format.empty() && !named && source.format != "gguf") continue;
    for (const ModelReference& reference : source.at) {
      auto model = find_reference(reference, named ? "" : found->format, options);
      if (!model) continue;
      model->name = found->model->name + ":" + model->format;
      model->licence = found->model->licence;
      model->temperature = found->model->temperature;
      model->top_p = found->model->top_p;
      return model;
    }
  }
  return std::nullopt;
}

bool can_be_pulled(const std::string& name, const HubOptions& options) {
  if (looks_like_reference(name)) return true;
  const auto catalogue = Catalogue::open(options.catalogue_file());
  return !catalogue || catalogue->find(name);  // a broken catalogue is told by the pull
}

std::vector<PulledModel> models_in_hugging_face_cache(const HubOptions& options) {
  const HuggingFaceCache cache(options.hugging_face_cache);
  std::vector<PulledModel> models;
  for (const std::string& repository : cache.repositories()) {
    const auto commit = cache.commit(repository, "main");
    if (!commit) continue;
    const auto listing = cache.cached_files(repository, *commit);
    if (!listing) continue;
    const fs::path folder = cache.snapshot(repository, *commit);
    for (const ModelVariant& variant : whole_variants(folder, *listing)) {
      models.push_back(describe("hf:" + repository, folder, *listing, variant));
    }
  }
  return models;
}

std::vector<std::string> sharers(const fs::path& path, const std::string& name,
                                 const std::vector<PulledModel>& pulled,
                                 const HubOptions& options) {
  std::vector<std::string> names;
  for (const PulledModel& other : pulled) {
    if (other.path == path && other.name != name) names.push_back(other.name);
  }
  const auto lies_in = [&](const fs::path& cache) {
    return path.string().starts_with(cache.string() + "/");
  };
  if (lies_in(options.hugging_face_cache)) names.emplace_back("huggingface_hub");
  if (lies_in(options.modelscope_cache)) names.emplace_back("modelscope");
  return names;
}

Result<Removal> remove_model(const PulledModel& model, const HubOptions& options) {
  const PulledModels pulled(options.home);
  HADAL_TRY(const std::vector<PulledModel> all, pulled.list());
  std::set<fs::path> others;
  for (const PulledModel& other : all) {
    if (other.name == model.name) continue;
    for (const PulledFile& file : other.files) others.insert(file.path);
  }
  Removal removal;
  const HuggingFaceCache cache(options.hugging_face_cache);
  uint64_t shared = 0, kept = 0;
  for (const PulledFile& file : model.files) {
    if (others.contains(file.path)) {
      shared += file.bytes;
      continue;
    }
    if (!file.ours) {
      kept += file.bytes;
      continue;
    }
    std::error_code error;
    const fs::path relative = file.path.lexically_relative(cache.root());
    if (!relative.empty() && *relative.begin() != "..") {
      HADAL_TRY(const uint64_t freed, cache.remove(file.path));
      removal.bytes_freed += freed;
    } else if (fs::remove(file.path, error)) {
      removal.bytes_freed += file.bytes;
      fs::remove(file.path.parent_path(), error);  // if it is empty now
    } else if (error) {
      return fail("cannot delete {}: {}", file.path.string(), error.message());
    }
  }
  HADAL_TRY_VOID(pulled.forget(model));
  if (shared > 0)
    removal.notes.push_back(fmt::format("{} stay: another model uses them", format_bytes(shared)));
  if (kept > 0) {
    removal.notes.push_back(fmt::format("{} stay where they were before hadal came: {}",
                                        format_bytes(kept), model.path.string()));
  }
  return removal;
}

}  // namespace hadal
