// A hub that models are fetched from: what to ask for the list of a repository's files, and at
// which address a file lies. Two dialects: Hugging Face's (its mirrors speak it too) and
// ModelScope's.
#pragma once

#include <string>

#include "hub/network/http_client.h"
#include "hub/sites/hub_listing.h"

namespace hadal {

struct HubSite {
  enum class Kind : uint8_t { kHuggingFace, kModelScope };
  Kind kind = Kind::kHuggingFace;
  std::string endpoint;  // normal_endpoint()'s
  std::string token;     // clean_token()'s; sent to the endpoint's own origin alone

  Credentials credentials() const;
  std::string name() const;  // its host, for messages
  const char* default_revision() const { return kind == Kind::kHuggingFace ? "main" : "master"; }
};

// The names must have passed check_repository() and check_revision(). Errors: a sentence that names
// the hub and what is wrong.
Result<Listing> list_repository(HttpClient& client, const HubSite& site,
                                const std::string& repository, const std::string& revision);

// Where the bytes are asked for; hubs redirect from there to their stores. `revision`: the
// listing's.
HttpRequest file_request(const HubSite& site, const std::string& repository,
                         const std::string& revision, const std::string& path);

}  // namespace hadal
