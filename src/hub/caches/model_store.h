// The models a person has: names -> files. One folder (`$HADAL_HOME/models`) holds them, NAME.gguf
// (or the parts of a split GGUF) or a folder NAME with a config.json. Reads the file system at each
// call and keeps nothing; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hadal {

struct StoredModel {
  std::string name;
  std::filesystem::path path;  // the GGUF (its first part), or the folder
  uint64_t bytes = 0;          // on disk, all parts
};

class ModelStore {
 public:
  explicit ModelStore(std::filesystem::path root) : root_(std::move(root)) {}

  std::filesystem::path models_folder() const { return root_ / "models"; }

  // Sorted by name. A folder that does not exist holds none.
  Result<std::vector<StoredModel>> list() const;

  // What a person typed -> a path that exists: a file or a folder with a config.json as it is, else
  // a stored name (case does not matter, `.gguf` may be given), else any folder of that path.
  // Errors: what was looked for, where, the names there are, and what to type.
  Result<std::filesystem::path> resolve(std::string_view model) const;

  // Deletes a model of list() (all parts, the folder); the bytes freed.
  Result<uint64_t> remove(const StoredModel& model) const;
  // Case does not matter, `.gguf` may be given.
  static bool same_name(std::string_view stored, std::string_view given);

  // The model of `hadal run` without a name: the demo model (kDemoModel), else the tiny one that a
  // source tree carries.
  Result<std::filesystem::path> default_model() const;

  static constexpr std::string_view kDemoModel = "smollm2-135m-instruct";
  static constexpr std::string_view kTinyModel = "stories260k";

 private:
  std::filesystem::path root_;
};

}  // namespace hadal
