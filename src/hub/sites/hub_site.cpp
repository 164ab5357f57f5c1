#include "hub/sites/hub_site.h"

namespace hadal {
namespace {

Result<Listing> list_hugging_face(HttpClient& client, const HubSite& site,
                                  const std::string& repository, const std::string& revision) {
  const std::string api = fmt::format("{}/api/models/{}", site.endpoint, repository);
  Listing listing;
  listing.revision = revision;
  if (!is_commit(revision)) {
    HADAL_TRY(const HttpReply reply,
              client.get_json({.url = fmt::format("{}/revision/{}", api, percent_encoded(revision)),
                               .credentials = site.credentials()},
                              repository, kListingBytesMax));
    HADAL_TRY(listing.revision, read_hugging_face_commit(reply.body, site.name()));
  }
  // Pages, until the hub names no next one. Its address is taken only if it stays on the hub.
  std::string url = fmt::format("{}/tree/{}?recursive=true", api, listing.revision);
  for (uint32_t page = 0;; ++page) {
    if (page == kListingPagesMax)
      return fail("{}: the list of {} has more than {} pages", site.name(), repository, page);
    HADAL_TRY(const HttpReply reply,
              client.get_json({.url = url, .credentials = site.credentials()}, repository,
                              kListingBytesMax));
    HADAL_TRY_VOID(read_hugging_face_tree(reply.body, site.name(), listing));
    const auto link = reply.headers.find("link");
    const std::string next = link == reply.headers.end() ? "" : next_link(link->second);
    if (next.empty()) return listing;
    HADAL_TRY(url, redirect_target(reply.url, next));
  }
}

Result<Listing> list_modelscope(HttpClient& client, const HubSite& site,
                                const std::string& repository, const std::string& revision) {
  const std::string url = fmt::format("{}/api/v1/models/{}/repo/files?Revision={}&Recursive=True",
                                      site.endpoint, repository, percent_encoded(revision));
  HADAL_TRY(const HttpReply reply, client.get_json({.url = url, .credentials = site.credentials()},
                                                   repository, kListingBytesMax));
  Listing listing;
  listing.revision = revision;
  HADAL_TRY_VOID(read_modelscope_files(reply.body, site.name(), listing));
  return listing;
}

}  // namespace

Credentials HubSite::credentials() const {
  const auto origin = origin_of(endpoint);
  return {
      .origin = origin ? *origin : "", .token = token, .as_cookie_too = kind == Kind::kModelScope};
}

std::string HubSite::name() const {
  const auto host = host_of(endpoint);
  return host ? *host : shown(endpoint);
}

Result<Listing> list_repository(HttpClient& client, const HubSite& site,
                                const std::string& repository, const std::string& revision) {
  HADAL_TRY(Listing listing, site.kind == HubSite::Kind::kHuggingFace
                                 ? list_hugging_face(client, site, repository, revision)
                                 : list_modelscope(client, site, repository, revision));
  if (listing.files.empty()) {
    return fail("{}: {} has no files{}", site.name(), repository,
                listing.refused.empty() ? "" : " that could be taken: " + listing.refused.front());
  }
  return listing;
}

HttpRequest file_request(const HubSite& site, const std::string& repository,
                         const std::string& revision, const std::string& path) {
  if (site.kind == HubSite::Kind::kHuggingFace) {
    return {.url = fmt::format("{}/{}/resolve/{}/{}", site.endpoint, repository,
                               percent_encoded(revision), percent_encoded(path, "/")),
            .credentials = site.credentials()};
  }
  return {.url = fmt::format("{}/api/v1/models/{}/repo?Revision={}&FilePath={}", site.endpoint,
                             repository, percent_encoded(revision), percent_encoded(path)),
          .credentials = site.credentials()};
}

}  // namespace hadal
