// Everything that the surroundings say about hubs and stores, as plain values: cli reads the
// environment into it, this room never does.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hub/network/curl_handle.h"
#include "hub/sites/hub_site.h"
#include "hub/transfer/transfer_plan.h"

namespace hadal {

struct HubOptions {
  std::filesystem::path home;  // hadal's own
  HubSite hugging_face{
      .kind = HubSite::Kind::kHuggingFace, .endpoint = "https://huggingface.co", .token = {}};
  HubSite modelscope{
      .kind = HubSite::Kind::kModelScope, .endpoint = "https://modelscope.cn", .token = {}};
  std::vector<HubSite> mirrors;  // more that speak as Hugging Face does; they get no token
  std::filesystem::path hugging_face_cache, modelscope_cache;
  bool offline = false;
  NetworkOptions network;
  TransferRules rules;
  uint64_t limit_bytes_per_s = 0;
  uint64_t free_memory_bytes = 0;  // for the choice of a format

  std::filesystem::path own_store() const { return home / "hub"; }
  std::filesystem::path catalogue_file() const { return home / "catalogue.json"; }
};

}  // namespace hadal
