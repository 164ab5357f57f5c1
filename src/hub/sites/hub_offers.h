// Asks several hubs at the same time what they have of one model: whoever is reachable is used, and
// who has the same bytes helps out. The threads end with the call.
#pragma once

#include <string>
#include <vector>

#include "hub/hub_options.h"
#include "hub/names/model_reference.h"

namespace hadal {

struct HubOffer {
  HubSite site;
  std::string repository;
  std::string asked_revision;
  Listing listing;
};

struct HubOffers {
  std::vector<HubOffer> offers;       // in the order asked for; never empty
  std::vector<std::string> troubles;  // of the hubs that gave no list, a sentence each
};

// `references`: the same model at hubs (is_hub()), the preferred one first. The first one's list is
// waited for a while longer than the others'. Errors: nobody has it, with each hub's reason.
Result<HubOffers> ask_hubs(const std::vector<ModelReference>& references,
                           const HubOptions& options);

}  // namespace hadal
