// libcurl as this room uses it: one request a handle, redirects followed by ourselves (http_rules.h
// says where a token may go), proxies as curl reads them from the environment (http_proxy,
// https_proxy, all_proxy, no_proxy), certificates always checked.
#pragma once

#include <curl/curl.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "hub/network/http_rules.h"

namespace hadal {

struct NetworkOptions {
  std::string user_agent = "hadal";
  std::filesystem::path ca_file;  // trusted authorities in PEM; "" = the system's
  uint32_t connect_timeout_s = 10;
  double stall_s = 20;         // without a byte for so long, an answer is given up
  uint32_t retries = 8;        // one after another, after which a source is given up
  std::function<bool()> stop;  // asked a few times a second: true ends what is under way (Ctrl-C)
  bool stopped() const { return stop && stop(); }
};

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct FreeLines {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// Before the first use of libcurl, from any thread, as often as one likes.
void prepare_curl();

// One request to one address. Its error text and header list live as long as it does; a CURL* needs
// them.
class CurlHandle {
 public:
  CurlHandle();
  CURL* get() const { return easy_.get(); }

  // Sets everything but what to do with the answer.
  Status prepare(const HttpRequest& request, const NetworkOptions& options);
  // Of the answer so far; emptied by prepare().
  const HeaderReader& headers() const { return headers_; }
  long status() const;
  // Why `code` is no success, as a sentence that names the host.
  std::string describe(CURLcode code, const std::string& url) const;

 private:
  static size_t read_header(char* data, size_t size, size_t count, void* self);

  std::unique_ptr<CURL, FreeEasy> easy_;
  std::unique_ptr<curl_slist, FreeLines> lines_;
  HeaderReader headers_;
  char error_text_[CURL_ERROR_SIZE] = {};
};

// What an HTTP status that is no success means for a person, naming host and what was asked for.
std::string describe_status(long status, const HttpHeaders& headers, const std::string& url,
                            const std::string& what);

}  // namespace hadal
