#include "file/folder_model.h"

#include <algorithm>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "file/json_config.h"
#include "file/safetensors.h"
#include "file/text_file.h"
#include "file/weight_index.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFolderEntriesMax =
    65536;  // looked at, for a message or for the one file of weights

// Names in the folder that end so, in order.
std::vector<std::string> names_ending_in(const fs::path& folder, std::string_view ending) {
  std::vector<std::string> names;
  std::error_code error;
  size_t looked_at = 0;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (++looked_at > kFolderEntriesMax) break;
    std::string name = entry->path().filename().string();
    if (name.ends_with(ending)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

tl::unexpected<Error> no_config(const fs::path& folder) {
  if (const auto models = names_ending_in(folder, ".gguf"); !models.empty()) {
    return fail(
        "{}: is a folder without config.json, but with GGUF files: name one of them, {} for "
        "instance",
        folder.string(), (folder / models.front()).string());
  }
  std::error_code error;
  if (fs::is_directory(folder / "snapshots", error)) {
    return fail(
        "{}: is a folder of the Hugging Face cache; name the one inside its 'snapshots' that has a "
        "config.json",
        folder.string());
  }
  return fail(
      "{}: has no config.json; a model is a GGUF file, or a Hugging Face folder with config.json "
      "beside safetensors",
      folder.string());
}

tl::unexpected<Error> no_weights(const fs::path& folder) {
  for (const char* ending : {".bin", ".pth", ".pt"}) {
    const auto checkpoints = names_ending_in(folder, ending);
    if (checkpoints.empty()) continue;
    return fail(
        "{}: its weights are PyTorch checkpoints ({}), which can run code when they are read and "
        "are not supported; "
        "get the model as safetensors or GGUF",
        folder.string(), checkpoints.front());
  }
  return fail(
      "{}: has a config.json but no weights: neither model.safetensors nor "
      "model.safetensors.index.json is there",
      folder.string());
}

// The files of weights, and which tensors they hold where the folder says so.
struct WeightFiles {
  std::vector<std::string> names;
  std::optional<WeightIndex> index;
};

Status check_present(const fs::path& folder, const std::vector<std::string>& names) {
  std::string missing;
  size_t missing_count = 0;
  for (const std::string& name : names) {
    std::error_code error;
    if (fs::exists(folder / name, error)) continue;
    if (++missing_count <= 5) missing += (missing.empty() ? "" : ", ") + name;
  }
  if (missing_count == 0) return {};
  return fail("{}: {} of its {} files of weights {} not there: {}{}; download {} into the folder",
              folder.string(), missing_count, names.size(), missing_count == 1 ? "is" : "are",
              missing, missing_count > 5 ? " ..." : "", missing_count == 1 ? "it" : "them");
}

Result<WeightFiles> find_weights(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / "model.safetensors", error))
    return WeightFiles{{"model.safetensors"}, {}};

  const fs::path index_path = folder / "model.safetensors.index.json";
  HADAL_TRY(const auto text, read_text_file(index_path, kWeightIndexBytesMax));
  if (text) {
    WeightFiles files;
    HADAL_TRY(files.index, read_weight_index(*text, index_path.string()));
    std::set<std::string> names;
    for (const auto& [tensor, file] : *files.index) names.insert(file);
    files.names.assign(names.begin(), names.end());
    HADAL_TRY_VOID(check_present(folder, files.names));
    return files;
  }
  auto names = names_ending_in(folder, ".safetensors");
  if (names.empty()) return no_weights(folder);
  if (names.size() > 1) {
    return fail(
        "{}: has {} safetensors files but no model.safetensors.index.json to say what is in them; "
        "download it as well",
        folder.string(), names.size());
  }
  return WeightFiles{std::move(names), {}};
}

// Adds what the index places in this file; without an index, everything. Returns how many tensors
// were left out.
Result<size_t> add_tensors(const SafetensorsContents& contents, const std::string& name,
                           const WeightFiles& weights, TensorIndex& tensors) {
  size_t left_out = 0;
  for (const auto& [tensor_name, tensor] : contents.tensors.tensors()) {
    if (weights.index) {
      const auto place = weights.index->find(tensor_name);
      if (place == weights.index->end() || place->second != name) {
        ++left_out;
        continue;
      }
    }
    if (!tensors.insert(tensor)) {
      return fail("{}: the tensor {} is there twice", tensor.file, quote(tensor_name));
    }
  }
  return left_out;
}

}  // namespace

Result<std::unique_ptr<ModelFile>> FolderReader::open(const fs::path& folder, ReadWhat what) {
  auto model = std::unique_ptr<ModelFile>(new ModelFile(folder, Dialect::kHuggingFace));

  const fs::path config_path = folder / "config.json";
  HADAL_TRY(const auto config, read_text_file(config_path, kConfigBytesMax));
  if (!config) return no_config(folder);
  model->metadata_ = Metadata(config_path.string(), Dialect::kHuggingFace);
  HADAL_TRY_VOID(add_json_config(*config, config_path.string(), "", model->metadata_,
                                 model->owned_strings_, model->warnings_));

  const fs::path generation_path = folder / "generation_config.json";
  HADAL_TRY(const auto generation, read_text_file(generation_path, kConfigBytesMax));
  if (generation) {
    HADAL_TRY_VOID(add_json_config(*generation, generation_path.string(), "generation.",
                                   model->metadata_, model->owned_strings_, model->warnings_));
  }

  HADAL_TRY(const auto weights, find_weights(folder));
  for (const std::string& name : weights.names) {
    HADAL_TRY(auto mapping, MappedFile::open(folder / name));
    const std::string file = mapping->path().string();
    auto contents = read_safetensors(mapping->bytes(), file, what);
    // A header read from a damaged mapping says nothing, neither good nor bad.
    if (mapping->damaged())
      return fail(
          "{}: the file could not be read; it was cut while it was opened, or its disk failed",
          file);
    if (!contents) return forward_error(contents);
    HADAL_TRY(const size_t left_out, add_tensors(*contents, name, weights, model->tensors_));
    if (left_out > 0) {
      model->warnings_.push_back(
          fmt::format("{}: {} tensors that the folder's index does not place there are left out",
                      file, left_out));
    }
    const uint64_t file_bytes = mapping->bytes().size();
    model->file_bytes_ += file_bytes;
    if (contents->bytes_needed > file_bytes)
      model->missing_bytes_ += contents->bytes_needed - file_bytes;
    model->files_.push_back(mapping->path());
    model->mappings_.push_back(std::move(mapping));
  }
  if (weights.index) {
    for (const auto& [tensor, file] : *weights.index) {
      if (model->tensors_.has(tensor)) continue;
      return fail(
          "{}: the tensor {} is not in {}, where the folder's index says it is; the files are not "
          "of one model",
          folder.string(), quote(tensor), file);
    }
  }
  model->form_ = fmt::format("Hugging Face folder, {} safetensors", weights.names.size());
  return model;
}

Result<std::unique_ptr<ModelFile>> FolderReader::open_around(const fs::path& file, ReadWhat what) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code error;
  if (!fs::exists(folder / "config.json", error)) {
    return fail(
        "{}: is read together with the config.json beside it, and there is none; a model is a GGUF "
        "file, or a Hugging Face "
        "folder with config.json beside safetensors",
        file.string());
  }
  HADAL_TRY(auto model, open(folder, what));
  const bool used =
      std::any_of(model->files_.begin(), model->files_.end(),
                  [&](const fs::path& part) { return part.filename() == file.filename(); });
  if (file.extension() == ".safetensors" && !used) {
    return fail("{}: is not among the weights that its folder uses; name the folder to read those",
                file.string());
  }
  return model;
}

}  // namespace hadal
