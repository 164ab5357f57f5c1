#include "hub/network/curl_handle.h"

#include <mutex>

#include "base/check.h"
#include "hub/names/hub_names.h"

namespace hadal {
namespace {

std::string host_or_url(const std::string& url) {
  const auto host = host_of(url);
  return host ? *host : shown(url);
}

}  // namespace

void prepare_curl() {
  static std::once_flag once;
  std::call_once(once, [] { CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
}

CurlHandle::CurlHandle() {
  prepare_curl();
  easy_.reset(curl_easy_init());
  if (!easy_) throw std::bad_alloc();
}

Status CurlHandle::prepare(const HttpRequest& request, const NetworkOptions& options) {
  if (const auto origin = origin_of(request.url); !origin) return forward_error(origin);
  CURL* easy = easy_.get();
  curl_easy_reset(easy);  // keeps connections and the cache of names
  headers_ = {};
  error_text_[0] = '\0';
  curl_slist* lines = nullptr;
  const auto add = [&](const std::string& line) { lines = curl_slist_append(lines, line.c_str()); };
  add("Accept-Encoding: identity");  // what is measured and checked are the file's own bytes
  for (const std::string& line : request.headers) add(line);
  for (const std::string& line : credential_headers(request.url, request.credentials)) add(line);
  lines_.reset(lines);

  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, lines_.get());
  curl_easy_setopt(easy, CURLOPT_HEADEROPT,
                   static_cast<long>(CURLHEADER_SEPARATE));  // none of it for a proxy
  curl_easy_setopt(easy, CURLOPT_USERAGENT, options.user_agent.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  // Several connections shall be several: HTTP/2 would put all requests on one.
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options.connect_timeout_s));
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text_);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &CurlHandle::read_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  if (!options.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options.ca_file.c_str());
  return {};
}

size_t CurlHandle::read_header(char* data, size_t size, size_t count, void* self) {
  const size_t bytes = size * count;
  auto* handle = static_cast<CurlHandle*>(self);
  return handle->headers_.add_line({data, bytes}) ? bytes : 0;
}

long CurlHandle::status() const {
  long status = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  return status;
}

std::string CurlHandle::describe(CURLcode code, const std::string& url) const {
  const std::string host = host_or_url(url);
  const std::string detail = error_text_[0] != '\0' ? error_text_ : curl_easy_strerror(code);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return fmt::format(
          "the name {} is not known: is there a network? (https_proxy names a proxy, HF_ENDPOINT a "
          "mirror of Hugging Face)",
          host);
    case CURLE_COULDNT_RESOLVE_PROXY:
      return fmt::format(
          "the proxy's name is not known ({}): see http_proxy, https_proxy, all_proxy", detail);
    case CURLE_COULDNT_CONNECT:
      return fmt::format("{} cannot be reached ({})", host, detail);
    case CURLE_OPERATION_TIMEDOUT:
      return fmt::format("{} does not answer ({})", host, detail);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return fmt::format(
          "the certificate of {} is not trusted ({}). A proxy that opens TLS needs its authority "
          "in "
          "SSL_CERT_FILE; a wrong clock has the same effect",
          host, detail);
    case CURLE_SSL_CONNECT_ERROR:
      return fmt::format("no safe connection to {} ({})", host, detail);
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
      return fmt::format("the connection to {} broke ({})", host, detail);
    default:
      return fmt::format("{}: {}", host, detail);
  }
}

std::string describe_status(long status, const HttpHeaders& headers, const std::string& url,
                            const std::string& what) {
  const std::string host = host_or_url(url);
  const auto header = [&](const char* name) {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  };
  const std::string code = header("x-error-code");  // the hub's own word, where it gives one
  if (code == "GatedRepo" || (status == 403 && code.empty())) {
    return fmt::format(
        "{} does not give {} to you (HTTP {}): accept its conditions in a browser, make a token "
        "there, and "
        "set HF_TOKEN (MODELSCOPE_API_TOKEN for ModelScope)",
        host, what, status);
  }
  if (code == "RevisionNotFound")
    return fmt::format("{} knows {}, but not this revision", host, what);
  if (status == 401) {
    return fmt::format(
        "{} wants a token for {} (HTTP 401): it is private, gated, or does not exist. Check the "
        "name; a token goes "
        "into HF_TOKEN (MODELSCOPE_API_TOKEN for ModelScope)",
        host, what);
  }
  if (status == 404 || status == 410)
    return fmt::format("{} has no {} (HTTP {})", host, what, status);
  if (status == 407)
    return fmt::format("the proxy wants a name and password (HTTP 407): put them into https_proxy");
  if (status == 416) {
    return fmt::format("{} says that {} is shorter than its list says (HTTP 416)", host, what);
  }
  if (status == 429) {
    const std::string wait = header("retry-after");
    return fmt::format("{} has had too many requests from here (HTTP 429{})", host,
                       wait.empty() ? "" : ", asks to wait " + shown(wait));
  }
  if (status >= 500) return fmt::format("{} is in trouble (HTTP {})", host, status);
  return fmt::format("{} answered HTTP {} for {}", host, status, what);
}

}  // namespace hadal
