#include "file/gguf_model.h"

#include <optional>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "file/gguf.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

struct SplitPlace {
  uint64_t number = 0;  // from 0
  uint64_t count = 1;
  std::optional<uint64_t> tensors;  // of all parts together
};

// A part that has been read: its bytes and what they say.
struct Part {
  std::unique_ptr<MappedFile> mapping;
  GgufContents contents;
};

Result<SplitPlace> split_place(const Metadata& metadata) {
  SplitPlace place;
  if (!metadata.has("split.count")) return place;
  HADAL_TRY(place.count, metadata.unsigned_integer("split.count", kGgufPartsMax));
  if (place.count <= 1) {
    place.count = 1;
    return place;
  }
  HADAL_TRY(place.number, metadata.unsigned_integer("split.no", place.count - 1));
  if (metadata.has("split.tensors.count")) {
    HADAL_TRY(place.tensors, metadata.unsigned_integer("split.tensors.count", kGgufTensorsMax));
  }
  return place;
}

std::string part_suffix(uint64_t number, uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

// The paths of all parts, from the path and the place of one; those that are not there are an error
// that names them.
Result<std::vector<fs::path>> part_paths(const fs::path& path, const SplitPlace& place) {
  const std::string name = path.filename().string();
  const std::string suffix = part_suffix(place.number, place.count);
  if (!name.ends_with(suffix)) {
    return fail(
        "{}: is part {} of {} of a split model; the others are found by its name, which must end "
        "in {}: give the file its name back",
        path.string(), place.number + 1, place.count, suffix);
  }
  const std::string stem = name.substr(0, name.size() - suffix.size());
  std::vector<fs::path> paths;
  std::string missing;
  uint64_t missing_count = 0;
  for (uint64_t i = 0; i < place.count; ++i) {
    paths.push_back(path.parent_path() / (stem + part_suffix(i, place.count)));
    std::error_code error;
    if (fs::exists(paths.back(), error)) continue;
    if (++missing_count <= 5)
      missing += (missing.empty() ? "" : ", ") + paths.back().filename().string();
  }
  if (missing_count > 0) {
    return fail(
        "{}: {} of the {} parts of this model {} not there: {}{}; download {} into the same folder",
        path.string(), missing_count, place.count, missing_count == 1 ? "is" : "are", missing,
        missing_count > 5 ? " ..." : "", missing_count == 1 ? "it" : "them");
  }
  return paths;
}

Result<Part> read_part(std::unique_ptr<MappedFile> mapping, ReadWhat what) {
  const std::string file = mapping->path().string();
  auto contents = read_gguf(mapping->bytes(), file, what);
  // A header read from a damaged mapping says nothing, neither good nor bad.
  if (mapping->damaged())
    return fail(
        "{}: the file could not be read; it was cut while it was opened, or its disk failed", file);
  if (!contents) return forward_error(contents);
  return Part{std::move(mapping), std::move(*contents)};
}

}  // namespace

Result<std::unique_ptr<ModelFile>> GgufReader::open(const fs::path& path,
                                                    std::unique_ptr<MappedFile> mapping,
                                                    ReadWhat what) {
  HADAL_TRY(auto named, read_part(std::move(mapping), what));
  HADAL_TRY(const SplitPlace named_place, split_place(named.contents.metadata));

  std::vector<Part> parts;
  if (named_place.count == 1) {
    parts.push_back(std::move(named));
  } else {
    HADAL_TRY(const auto paths, part_paths(path, named_place));
    for (uint64_t i = 0; i < paths.size(); ++i) {
      if (i == named_place.number) {
        parts.push_back(std::move(named));
        continue;
      }
      HADAL_TRY(auto part_mapping, MappedFile::open(paths[i]));
      HADAL_TRY(auto part, read_part(std::move(part_mapping), what));
      HADAL_TRY(const SplitPlace place, split_place(part.contents.metadata));
      if (place.number != i || place.count != named_place.count) {
        return fail(
            "{}: says it is part {} of {}, its name and {} say part {} of {}; the parts are of "
            "different models",
            paths[i].string(), place.number + 1, place.count, path.string(), i + 1,
            named_place.count);
      }
      parts.push_back(std::move(part));
    }
  }

  auto model = std::unique_ptr<ModelFile>(new ModelFile(path, Dialect::kGguf));
  model->form_ = fmt::format("GGUF version {}", parts.front().contents.version);
  if (parts.size() > 1) model->form_ += fmt::format(", {} parts", parts.size());
  model->metadata_ = std::move(parts.front().contents.metadata);
  for (Part& part : parts) {
    const uint64_t file_bytes = part.mapping->bytes().size();
    model->file_bytes_ += file_bytes;
    if (part.contents.bytes_needed > file_bytes)
      model->missing_bytes_ += part.contents.bytes_needed - file_bytes;
    model->files_.push_back(part.mapping->path());
    if (parts.size() == 1) {
      model->tensors_ = std::move(part.contents.tensors);
    } else {
      for (const auto& [name, tensor] : part.contents.tensors.tensors()) {
        if (!model->tensors_.insert(tensor)) {
          return fail("{}: the tensor {} is there twice, in {} as well",
                      part.mapping->path().string(), quote(name), model->tensors_.find(name)->file);
        }
      }
    }
    model->mappings_.push_back(std::move(part.mapping));
  }
  if (named_place.tensors && *named_place.tensors != model->tensors_.size()) {
    return fail(
        "{}: the parts of this model hold {} tensors, its header says {}; they are not of one "
        "model",
        path.string(), model->tensors_.size(), *named_place.tensors);
  }
  return model;
}

}  // namespace hadal
