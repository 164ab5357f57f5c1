// Short names for models: name -> where they lie, which format, licence, context, sampling. One
// file comes with the program (src/hub/names/catalogue.json, compiled in), one may be the user's
// own (HADAL_HOME/catalogue.json) in the same words; a name in it goes before the program's.
// Read-only after open; any thread.
//
//   {"version": 1, "models": [{"name": "deepseek-r1:1.5b", "about": "...", "licence": "MIT",
//     "context": 131072, "kv_bytes_per_token": 28672, "formats": ["q8_0", "q4_k_m"],
//     "sampling": {"temperature": 0.6, "top_p": 0.95},
//     "sources": [{"format": "gguf", "at": ["hf:OWNER/REPO-GGUF", "ms:OWNER/REPO-GGUF"]},
//                 {"format": "bf16", "at": ["hf:OWNER/REPO"]}]}]}
//
// Only "name" and "sources" must be there. The references in one "at" have the same files; "gguf"
// stands for the formats that the files' names say.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/names/model_reference.h"

namespace hadal {

struct CatalogueSource {
  std::string format;              // "gguf", or what the one model there is: "bf16", "fp8", "q4_1"
  std::vector<ModelReference> at;  // the preferred one first
};

struct CatalogueModel {
  std::string name, about, licence;
  uint64_t context = 0, kv_bytes_per_token = 0;  // 0 = not said; KV of 16-bit values
  std::optional<double> temperature, top_p;
  std::vector<std::string> formats;  // best first; empty = best_formats()
  std::vector<CatalogueSource> sources;
};

class Catalogue {
 public:
  static constexpr size_t kFileBytesMax = 4 << 20;
  static constexpr size_t kModelsMax = 10000;

  // Errors name the user's file and what is wrong in it.
  static Result<Catalogue> open(const std::filesystem::path& users_file);
  // `from` names the text in messages. A later text's models go before an earlier one's.
  Status add(std::string_view json, const std::string& from);

  const std::vector<CatalogueModel>& models() const { return models_; }
  struct Found {
    const CatalogueModel* model;
    std::string format;  // "" = none was given
  };
  // "deepseek-r1:1.5b" or "deepseek-r1:1.5b:q8_0", whatever the case.
  std::optional<Found> find(std::string_view name) const;
  // Names that begin as `name` does or are near it, for "did you mean".
  std::vector<std::string> similar(std::string_view name) const;

 private:
  std::vector<CatalogueModel> models_;
};

std::string_view built_in_catalogue();

}  // namespace hadal
