// What a pull will do, decided before a byte is fetched: which files, where each lies at the end,
// who has it, how much is missing, and whether there is room.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/caches/pulled_models.h"
#include "hub/sites/hub_offers.h"
#include "hub/sites/model_variants.h"
#include "hub/transfer/transfer.h"

namespace hadal {

struct PlannedFile {
  HubFile file;
  std::string validator;        // stands in for the digest of a URL's file
  std::filesystem::path bytes;  // where its bytes lie at the end
  std::filesystem::path
      opened;  // under which name it is opened: the link in a snapshot, or `bytes`
  std::filesystem::path part, record, lock;
  std::vector<TransferSource> sources;
  bool present = false;         // its bytes are there
  uint64_t fetched_before = 0;  // recorded in the part file
};

struct PullPlan {
  PulledModel model;  // as it will be remembered; `files` filled at the end
  std::string from;   // host of the main source
  std::vector<PlannedFile> files;
  std::vector<std::string> notes;  // to be said first: the choice of the format, troubles of hubs
  // Where it goes: into the Hugging Face cache, if `repository` is set, else hadal's own store.
  std::string repository, commit, revision;
  // Files of ModelScope's cache to be used in place, once their digests were found right.
  std::vector<std::filesystem::path> in_place;

  uint64_t bytes() const;
  uint64_t bytes_missing() const;
};

struct PlanWish {
  std::string name;  // "" = after the repository
  std::string format;
  const struct CatalogueModel* catalogue = nullptr;
  std::string folder_format;  // what a folder of safetensors is called; "" = "safetensors"
};

// From what hubs offer (the first offer leads, others help with the same bytes).
Result<PullPlan> plan_from_offers(const HubOffers& offers, const PlanWish& wish,
                                  const HubOptions& options);
// A single GGUF at an address. Asks it for its length.
Result<PullPlan> plan_from_url(const ModelReference& reference, const HubOptions& options);

// "" if the missing bytes fit beside `reserve`; else a sentence with the figures.
Status check_room(uint64_t bytes_missing, uint64_t bytes_free, const std::filesystem::path& folder,
                  const std::string& name);
inline constexpr uint64_t kDiskReserveBytes = 64 << 20;  // left for everybody else

}  // namespace hadal
