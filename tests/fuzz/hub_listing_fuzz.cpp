// What hubs and people say of models: lists of files, catalogues, references, headers. Any text
// ends in values that keep the rules of hub_names.h, or in an error.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hub/names/catalogue.h"
#include "hub/names/model_reference.h"
#include "hub/network/http_rules.h"
#include "hub/sites/hub_listing.h"
#include "hub/sites/model_variants.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Listing listing;
  (void)read_hugging_face_tree(text, "input", listing);
  (void)read_modelscope_files(text, "input", listing);
  (void)read_hugging_face_commit(text, "input");
  for (const HubFile& file : listing.files) {
    const bool leaves = file.path.starts_with('/') || file.path == ".." ||
                        file.path.starts_with("../") ||
                        file.path.find("/../") != std::string::npos || file.path.ends_with("/..");
    const bool steers = file.path.find_first_of("\n\r\x1b\\;|&$`<>*?'\" ") != std::string::npos;
    if (leaves || steers || file.bytes > kFileBytesMax) std::abort();
  }
  for (const ModelVariant& variant : find_variants(listing)) {
    if (variant.files.empty()) std::abort();
  }
  Catalogue catalogue;
  (void)catalogue.add(text, "input");
  (void)parse_model_reference(text);
  (void)parse_content_range(text);
  (void)parse_retry_after(text, 0);
  (void)next_link(text);
  const auto target = redirect_target("https://hub.example/a/b", text);
  if (target && !target->starts_with("https://")) std::abort();
  HeaderReader headers;
  (void)headers.add_line(text);
  return 0;
}
