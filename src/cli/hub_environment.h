// What the surroundings say about hubs: HF_*, MODELSCOPE_*, HADAL_MIRRORS, SSL_CERT_FILE. Proxies
// are read by curl itself.
#pragma once

#include <string>

#include "cli/environment.h"
#include "hub/hub_options.h"

namespace hadal {

struct HubEnvironment {
  HubOptions options;   // what could be read
  std::string problem;  // what is wrong in them, for the command that needs a hub; "" = nothing
};

HubEnvironment read_hub_environment(const Environment& environment);

}  // namespace hadal
