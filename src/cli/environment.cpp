#include "cli/environment.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <string_view>

#include "cli/hub_environment.h"
#include "file/text_file.h"

namespace hadal {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The first of these variables that is set to something.
std::string first_of(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (std::string value = variable(name); !value.empty()) return value;
  }
  return "";
}

bool is_true(const std::string& value) {
  for (const std::string_view word :
       {"1", "ON", "on", "On", "YES", "yes", "Yes", "TRUE", "true", "True"}) {
    if (value == word) return true;
  }
  return false;
}

// "~/x" as a shell would have it; huggingface_hub does the same with its variables.
std::filesystem::path expanded(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return variable("HOME") + path.substr(1);
  return path;
}

// A variable of the environment or a small file of the user's.
Result<std::string> hugging_face_token(const std::filesystem::path& folder) {
  std::string token = first_of({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"});
  if (token.empty() && !is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
    const std::string path = variable("HF_TOKEN_PATH");
    const auto text = read_text_file(path.empty() ? folder / "token" : expanded(path), 1 << 16);
    if (text && *text) token = **text;
  }
  return clean_token(token);
}

// As huggingface_hub and modelscope read them; what is wrong in one is told only where a hub is
// needed.
Status read_into(HubOptions& hub) {
  const std::string cache = variable("XDG_CACHE_HOME");
  const std::filesystem::path caches =
      cache.empty() ? std::filesystem::path(variable("HOME")) / ".cache" : expanded(cache);
  const std::string home = variable("HF_HOME");
  const std::filesystem::path folder = home.empty() ? caches / "huggingface" : expanded(home);
  const std::string hub_cache = first_of({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
  hub.hugging_face_cache = hub_cache.empty() ? folder / "hub" : expanded(hub_cache);
  const std::string modelscope_cache = variable("MODELSCOPE_CACHE");
  hub.modelscope_cache = modelscope_cache.empty()
                             ? std::filesystem::path(variable("HOME")) / ".cache/modelscope"
                             : expanded(modelscope_cache);
  hub.offline = is_true(first_of({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}));
  hub.network.ca_file = first_of({"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"});
  if (const std::string text = variable("HF_ENDPOINT"); !text.empty()) {
    HADAL_TRY(hub.hugging_face.endpoint, normal_endpoint(text));
  }
  if (const std::string text = first_of({"MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"});
      !text.empty()) {
    HADAL_TRY(hub.modelscope.endpoint, normal_endpoint(text));
  }
  std::string mirrors = variable("HADAL_MIRRORS");
  for (size_t at = 0; at < mirrors.size();) {
    const size_t end = std::min(mirrors.find_first_of(", ", at), mirrors.size());
    if (end > at) {
      HADAL_TRY(std::string endpoint, normal_endpoint(mirrors.substr(at, end - at)));
      hub.mirrors.push_back(
          {.kind = HubSite::Kind::kHuggingFace, .endpoint = std::move(endpoint), .token = {}});
    }
    at = end + 1;
  }
  const auto token = hugging_face_token(folder);
  if (!token) return fail("HF_TOKEN: {}", token.error().message);
  hub.hugging_face.token = *token;
  const auto modelscope_token = clean_token(variable("MODELSCOPE_API_TOKEN"));
  if (!modelscope_token) return fail("MODELSCOPE_API_TOKEN: {}", modelscope_token.error().message);
  hub.modelscope.token = *modelscope_token;
  return {};
}

}  // namespace

Environment read_environment() {
  Environment environment;
  if (const std::string home = variable("HADAL_HOME"); !home.empty()) {
    environment.home = home;
  } else if (const std::string data = variable("XDG_DATA_HOME"); !data.empty()) {
    environment.home = std::filesystem::path(data) / "hadal";
  } else {
    environment.home = std::filesystem::path(variable("HOME")) / ".local/share/hadal";
  }
  environment.dumb_terminal = variable("TERM") == "dumb";
  environment.no_color = !variable("NO_COLOR").empty() || environment.dumb_terminal;
  return environment;
}

HubEnvironment read_hub_environment(const Environment& environment) {
  HubEnvironment result;
  result.options.home = environment.home;
  if (const Status read = read_into(result.options); !read) result.problem = read.error().message;
  return result;
}

}  // namespace hadal
