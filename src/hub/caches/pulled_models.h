// What hadal has pulled: a small record a model (HADAL_HOME/pulled/NAME.json), the bytes lie
// elsewhere: in the Hugging Face cache, in ModelScope's, in hadal's own folder, or where the user
// has them. Reads the disk at each call; any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace hadal {

struct PulledFile {
  std::filesystem::path path;  // absolute
  uint64_t bytes = 0;
  bool ours = false;  // hadal fetched it, so `rm` may delete it
};

struct PulledModel {
  std::string name;      // "deepseek-r1:1.5b:q8_0", "hf:owner/repo:q4_k_m"
  std::string source;    // "hf:owner/repo", "https://...", "/a/folder"
  std::string revision;  // commit; "" where there is none
  std::string format, licence;
  std::filesystem::path path;  // what is opened: a GGUF's first part, or a folder
  std::vector<PulledFile> files;
  std::optional<double> temperature, top_p;  // the catalogue's advice
  int64_t pulled_unix_seconds = 0;
  double bytes_per_s = 0;  // as it was fetched; 0: not measured

  uint64_t bytes() const;
  bool complete() const;  // every file is there with its size
};

class PulledModels {
 public:
  explicit PulledModels(std::filesystem::path home) : folder_(home / "pulled") {}

  // Sorted by name; a record that cannot be read is left out.
  Result<std::vector<PulledModel>> list() const;
  // By whole name, or without its format where one of it was pulled; the latest of several.
  std::optional<PulledModel> find(std::string_view name) const;
  std::optional<PulledModel> find_by_path(const std::filesystem::path& path) const;
  Status save(const PulledModel& model) const;
  Status forget(const PulledModel& model) const;

 private:
  std::filesystem::path record(const std::string& name) const;

  std::filesystem::path folder_;
};

}  // namespace hadal
