#include "hub/network/http_client.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>

#include "base/sizes.h"
#include "hub/names/hub_names.h"

namespace hadal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kRetryAfterMax_s = 60;  // of a list; a person waits for it
constexpr uint32_t kRetriesMax = 4;      // of a list, however patient a transfer is

struct Body {
  std::string text;
  uint64_t bytes_max;
  bool too_long = false;
  const NetworkOptions* options;
  Clock::time_point last_byte = Clock::now();
};

size_t read_body(char* data, size_t size, size_t count, void* target) {
  auto* body = static_cast<Body*>(target);
  const size_t bytes = size * count;
  body->last_byte = Clock::now();
  if (body->text.size() + bytes > body->bytes_max) {
    body->too_long = true;
    return 0;
  }
  body->text.append(data, bytes);
  return bytes;
}

int watch(void* target, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* body = static_cast<Body*>(target);
  const std::chrono::duration<double> silence = Clock::now() - body->last_byte;
  return body->options->stopped() || silence.count() > body->options->stall_s ? 1 : 0;
}

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

Result<HttpReply> HttpClient::follow(HttpRequest request, Method method, const std::string& what,
                                     uint64_t body_bytes_max) {
  for (int redirects = 0; redirects <= kRedirectsMax; ++redirects) {
    retries_worth_ = 0;
    HADAL_TRY_VOID(handle_.prepare(request, options_));
    Body body{.text = {}, .bytes_max = body_bytes_max, .options = &options_};
    CURL* easy = handle_.get();
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &read_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &watch);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &body);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    if (method == Method::kHead) curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    const CURLcode code = curl_easy_perform(easy);
    if (options_.stopped()) return fail("stopped");
    if (body.too_long) {
      return fail("{}: the answer is longer than {}, the limit", what,
                  format_bytes(body_bytes_max));
    }
    if (code == CURLE_ABORTED_BY_CALLBACK) {
      retries_worth_ = kRetriesMax;
      return fail("{} is silent for {:.0f} s", *host_of(request.url), options_.stall_s);
    }
    if (code != CURLE_OK) {
      const bool no_way = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT;
      const bool for_good = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_WRITE_ERROR;
      retries_worth_ = for_good ? 0 : no_way ? 1 : kRetriesMax;
      return fail("{}", handle_.describe(code, request.url));
    }
    const long status = handle_.status();
    if (!is_redirect(status)) {
      return HttpReply{status, request.url, handle_.headers().headers(), std::move(body.text)};
    }
    const auto target = redirect_target(request.url, handle_.headers().get("location"));
    if (!target) return fail("{}: {}", *host_of(request.url), target.error().message);
    request.url = *target;
  }
  return fail("{}: {} redirects one after another lead nowhere", *host_of(request.url),
              kRedirectsMax);
}

Result<HttpReply> HttpClient::persist(const HttpRequest& request, Method method,
                                      const std::string& what, uint64_t body_bytes_max) {
  double pause_s = 0.5;
  for (uint32_t attempt = 0;; ++attempt) {
    auto reply = follow(request, method, what, body_bytes_max);
    const bool busy = reply && (reply->status == 429 || reply->status >= 500);
    const uint32_t retries = reply ? (busy ? kRetriesMax : 0) : retries_worth_;
    if (attempt >= std::min(retries, options_.retries)) return reply;
    double wait_s = pause_s;
    if (busy) {
      const auto found = reply->headers.find("retry-after");
      const auto asked =
          parse_retry_after(found == reply->headers.end() ? "" : found->second, std::time(nullptr));
      if (asked) wait_s = std::max(wait_s, *asked);
    }
    if (wait_s > kRetryAfterMax_s) return reply;
    const auto until = Clock::now() + std::chrono::duration<double>(wait_s);
    while (Clock::now() < until) {
      if (options_.stopped()) return fail("stopped");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    pause_s *= 2;
  }
}

Result<HttpReply> HttpClient::get(const HttpRequest& request, const std::string& what,
                                  uint64_t body_bytes_max) {
  return persist(request, Method::kGet, what, body_bytes_max);
}

Result<HttpReply> HttpClient::head(const HttpRequest& request, const std::string& what) {
  return persist(request, Method::kHead, what, 0);
}

Result<HttpReply> HttpClient::get_json(const HttpRequest& request, const std::string& what,
                                       uint64_t body_bytes_max) {
  HADAL_TRY(HttpReply reply, get(request, what, body_bytes_max));
  if (reply.status != 200)
    return fail("{}", describe_status(reply.status, reply.headers, reply.url, what));
  const size_t first = reply.body.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && reply.body[first] == '<') {
    return fail(
        "{} answered with a web page where a list was expected: a login page of this network? Open "
        "{} in a browser to see",
        *host_of(reply.url), shown(reply.url));
  }
  return reply;
}

}  // namespace hadal
