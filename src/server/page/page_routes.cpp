#include "server/page/page_routes.h"

#include <algorithm>

#include "server/dialects/openai_errors.h"
#include "server/page/page.h"

namespace hadal {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// wanted(element): of a list that a header holds, "a, b;q=0.5".
template <typename Wanted>
bool any_of_list(std::string_view list, Wanted wanted) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (wanted(trimmed(list.substr(0, comma)))) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// Browsers name it without a weight; who gives one gets the plain form.
bool takes_gzip(const WebRequest& request) {
  return any_of_list(request.header("accept-encoding"),
                     [](std::string_view coding) { return coding == "gzip"; });
}

bool has_copy(const WebRequest& request, std::string_view etag) {
  return any_of_list(request.header("if-none-match"),
                     [&](std::string_view copy) { return copy == etag; });
}

}  // namespace

std::vector<Route> page_routes() {
  return {
      {"GET",
       "/",
       Access::kOpen,
       RunsOn::kIoThread,
       [](const WebRequest& request, const std::shared_ptr<Exchange>& exchange) {
         exchange->reply(page_reply("index.html", request));
       },
       {.group = "Page", .summary = "The web page", .reply_type = "text/html"}},
      {"GET",
       "/page/*",
       Access::kOpen,
       RunsOn::kIoThread,
       [](const WebRequest& request, const std::shared_ptr<Exchange>& exchange) {
         exchange->reply(page_reply(request.rest, request));
       },
       {.group = "Page", .summary = "The web page's files", .rest = "file", .reply_type = "*/*"}},
  };
}

WebReply page_reply(std::string_view path, const WebRequest& request) {
  const auto files = page_files();
  const auto file = std::ranges::find(files, path, &PageFile::path);
  if (file == files.end()) {
    return {.status = 404, .body = openai_http_error(404, "there is no such file")};
  }
  WebReply reply{.content_type = std::string(file->content_type)};
  reply.headers = {
      {"Content-Security-Policy", std::string(kPagePolicy)},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
      {"Cache-Control", "no-cache"},  // keep it, but ask each time whether it is still right
      {"ETag", std::string(file->etag)},
      {"Vary", "Accept-Encoding"},
  };
  if (has_copy(request, file->etag)) {
    reply.status = 304;
  } else if (!file->gzip.empty() && takes_gzip(request)) {
    reply.body = file->gzip;
    reply.headers.emplace_back("Content-Encoding", "gzip");
  } else {
    reply.body = file->bytes;
  }
  return reply;
}

}  // namespace hadal
