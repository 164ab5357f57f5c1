#include "hub/pull_plan.h"

#include <algorithm>

#include "base/sizes.h"
#include "hub/caches/hugging_face_cache.h"
#include "hub/caches/modelscope_cache.h"
#include "hub/disk/durable_file.h"
#include "hub/disk/file_digest.h"
#include "hub/names/catalogue.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

bool is_present(const PlannedFile& file) {
  std::error_code error;
  return fs::is_regular_file(file.bytes, error) &&
         fs::file_size(file.bytes, error) == file.file.bytes && !error;
}

void find_what_is_there(PlannedFile& file) {
  file.present = is_present(file);
  if (file.present) return;
  const auto done =
      read_transfer_record(file.record, {file.file.bytes, file.file.digest, file.validator});
  if (done) file.fetched_before = done->bytes();
}

// hadal's own store: one folder a hub, repository and revision, files under their own names.
PlannedFile place_in_own_store(const fs::path& folder, const HubFile& file) {
  PlannedFile planned{.file = file};
  planned.bytes = planned.opened = folder / file.path;
  planned.part = planned.bytes.string() + ".part";
  planned.record = planned.bytes.string() + ".part-record";
  planned.lock = planned.bytes.string() + ".lock";
  return planned;
}

// The bytes as a blob of the Python client's cache. Its own unfinished files are DIGEST.incomplete
// or DIGEST.*.incomplete; ours have another name, since an older client would append to one it
// finds.
PlannedFile place_in_hugging_face_cache(const HuggingFaceCache& cache, const HubOffer& offer,
                                        const HubFile& file) {
  PlannedFile planned{.file = file};
  planned.bytes = cache.blob(offer.repository, file.digest);
  planned.opened = cache.snapshot(offer.repository, offer.listing.revision) / file.path;
  planned.part = planned.bytes.string() + ".hadal-part";
  planned.record = planned.bytes.string() + ".hadal-record";
  planned.lock = cache.lock(offer.repository, file.digest);
  return planned;
}

const HubFile* same_file(const Listing& listing, const HubFile& file) {
  for (const HubFile& other : listing.files) {
    if (other.path == file.path && other.bytes == file.bytes && other.digest == file.digest)
      return &other;
  }
  return nullptr;
}

void add_sources(const std::vector<HubOffer>& offers, PlannedFile& file) {
  for (size_t i = 0; i < offers.size(); ++i) {
    const HubOffer& offer = offers[i];
    const bool same = i == 0 || (file.file.digest.kind != DigestKind::kNone &&
                                 same_file(offer.listing, file.file) != nullptr);
    if (!same) continue;
    file.sources.push_back(
        {offer.site.name(),
         file_request(offer.site, offer.repository, offer.listing.revision, file.file.path)});
  }
}

// A whole model in ModelScope's cache: every file with its size. Digests are checked later.
std::vector<fs::path> find_in_modelscope_cache(const HubOffers& offers, const ModelVariant& variant,
                                               const HubOptions& options) {
  const ModelScopeCache cache(options.modelscope_cache);
  for (const HubOffer& offer : offers.offers) {
    if (offer.site.kind != HubSite::Kind::kModelScope) continue;
    std::vector<fs::path> found;
    for (const HubFile& file : variant.files) {
      const auto path = cache.find(offer.repository, offer.asked_revision, file);
      if (path && (found.empty() || path->parent_path() == found.front().parent_path()))
        found.push_back(*path);
    }
    if (found.size() == variant.files.size()) return found;
  }
  return {};
}

std::string file_name_of_url(const std::string& url) {
  std::string path = url.substr(0, url.find_first_of("?#"));
  return path.substr(path.rfind('/') + 1);
}

struct RemoteFile {
  uint64_t bytes;
  std::string validator, host;
};

// The length of what lies at an address: from HEAD, or from the first byte where that is not
// allowed.
Result<RemoteFile> ask_address(const ModelReference& reference, const HubOptions& options) {
  HttpClient client(options.network);
  const std::string what = shown(file_name_of_url(reference.url));
  HttpRequest request;
  request.url = reference.url;
  HADAL_TRY(HttpReply reply, client.head(request, what));
  std::optional<uint64_t> bytes;
  const auto header = [&](const char* name) {
    const auto found = reply.headers.find(name);
    return found == reply.headers.end() ? std::string() : found->second;
  };
  if (reply.status == 200) {
    const auto range = parse_content_range(fmt::format("bytes 0-0/{}", header("content-length")));
    if (range) bytes = range->total;
  }
  if (!bytes) {
    request.headers.push_back("Range: bytes=0-0");
    HADAL_TRY(reply, client.get(request, what, 1 << 20));
    if (reply.status != 206) {
      if (reply.status != 200)
        return fail("{}", describe_status(reply.status, reply.headers, reply.url, what));
      return fail("{} does not say how long {} is", *host_of(reply.url), what);
    }
    const auto range = parse_content_range(header("content-range"));
    if (range) bytes = range->total;
  }
  if (header("content-type").starts_with("text/html")) {
    return fail(
        "{} leads to a web page, not to a file: open it in a browser and copy the address of the "
        "download itself",
        shown(reference.url));
  }
  if (!bytes || *bytes == 0 || *bytes > kFileBytesMax)
    return fail("{} does not say how long {} is", *host_of(reply.url), what);
  std::string validator = reference.url + " " + header("etag");
  std::erase_if(validator, [](unsigned char c) { return c < 0x20 || c >= 0x7f; });
  return RemoteFile{*bytes, validator.substr(0, 1000), *host_of(reference.url)};
}

}  // namespace

uint64_t PullPlan::bytes() const {
  uint64_t sum = 0;
  for (const PlannedFile& file : files) sum += file.file.bytes;
  return sum;
}

uint64_t PullPlan::bytes_missing() const {
  uint64_t sum = 0;
  for (const PlannedFile& file : files) {
    if (!file.present) sum += file.file.bytes - file.fetched_before;
  }
  return sum;
}

Result<PullPlan> plan_from_offers(const HubOffers& offers, const PlanWish& wish,
                                  const HubOptions& options) {
  const HubOffer& main = offers.offers.front();
  const bool hugging_face = main.site.kind == HubSite::Kind::kHuggingFace;
  const std::string source = (hugging_face ? "hf:" : "ms:") + main.repository;
  const std::string revision_part =
      main.asked_revision == main.site.default_revision() ? "" : "@" + main.asked_revision;
  std::vector<ModelVariant> variants = find_variants(main.listing);
  for (ModelVariant& variant : variants) {
    if (variant.folder && !wish.folder_format.empty()) variant.format = wish.folder_format;
  }
  if (variants.empty() && !main.listing.refused.empty()) {
    return fail("{} offers nothing that could be taken: {}", source, main.listing.refused.front());
  }
  VariantWish variant_wish{.format = wish.format, .memory_bytes = options.free_memory_bytes};
  if (wish.catalogue != nullptr) {
    variant_wish.kv_bytes_per_token = wish.catalogue->kv_bytes_per_token;
    variant_wish.preferences = wish.catalogue->formats;
  }
  const std::string name = wish.name.empty() ? source + revision_part : wish.name;
  HADAL_TRY(const VariantChoice choice, choose_variant(variants, variant_wish, name));
  const ModelVariant& variant = *choice.variant;

  PullPlan plan;
  plan.from = main.site.name();
  if (!choice.why.empty()) plan.notes.push_back(choice.why);
  for (const std::string& trouble : offers.troubles)
    plan.notes.push_back(fmt::format("not asked further: {}", trouble));
  plan.model = {.name = name + ":" + variant.format,
                .source = source,
                .revision = main.listing.revision,
                .format = variant.format};
  if (wish.catalogue != nullptr) {
    plan.model.licence = wish.catalogue->licence;
    plan.model.temperature = wish.catalogue->temperature;
    plan.model.top_p = wish.catalogue->top_p;
  }
  plan.in_place = find_in_modelscope_cache(offers, variant, options);
  const HuggingFaceCache cache(options.hugging_face_cache);
  std::string folder_name = main.repository;
  folder_name.replace(folder_name.find('/'), 1, "--");
  const fs::path own = options.own_store() / ("ms--" + folder_name) / main.listing.revision;
  for (const HubFile& file : variant.files) {
    PlannedFile planned = hugging_face ? place_in_hugging_face_cache(cache, main, file)
                                       : place_in_own_store(own, file);
    add_sources(offers.offers, planned);
    find_what_is_there(planned);
    plan.files.push_back(std::move(planned));
  }
  if (hugging_face) {
    plan.repository = main.repository;
    plan.commit = main.listing.revision;
    plan.revision = main.asked_revision;
  }
  const fs::path& first = plan.files.front().opened;
  plan.model.path = variant.folder ? first.parent_path() : first;
  return plan;
}

Result<PullPlan> plan_from_url(const ModelReference& reference, const HubOptions& options) {
  const std::string name = file_name_of_url(reference.url);
  if (const Status good = check_repository_path(name); !good || !name.ends_with(".gguf")) {
    return fail(
        "{}: an address must end in the name of a .gguf file; a folder of safetensors is pulled as "
        "hf:OWNER/REPO or ms:OWNER/REPO",
        shown(reference.url));
  }
  HADAL_TRY(const RemoteFile remote, ask_address(reference, options));
  // Two addresses may end in the same name: the folder tells them apart.
  DigestStream stream(DigestKind::kSha256, 0);
  stream.update(std::as_bytes(std::span(reference.url)));
  const std::string folder = stream.finish().hex.substr(0, 16);

  PullPlan plan;
  plan.from = remote.host;
  std::string format = format_of_file(name);
  if (format.empty()) format = "gguf";
  std::string stem = name.substr(0, name.size() - 5);
  plan.model = {.name = stem, .source = reference.url, .format = format};
  PlannedFile file =
      place_in_own_store(options.own_store() / "url" / folder,
                         {.path = name, .bytes = remote.bytes, .digest = reference.digest});
  file.validator = remote.validator;
  file.sources.push_back({remote.host, {.url = reference.url}});
  find_what_is_there(file);
  plan.model.path = file.opened;
  plan.files.push_back(std::move(file));
  return plan;
}

Status check_room(uint64_t bytes_missing, uint64_t bytes_free, const fs::path& folder,
                  const std::string& name) {
  if (bytes_missing == 0 || bytes_missing + kDiskReserveBytes <= bytes_free) return {};
  return fail(
      "{} needs {} more in {}, and {} are free there ({} are kept for others). Free some space "
      "(`hadal list` shows what your models take, `hadal rm NAME` removes one) and type the same "
      "command again, or set HF_HUB_CACHE or HADAL_HOME to a larger disk",
      name, format_bytes(bytes_missing), folder.string(), format_bytes(bytes_free),
      format_bytes(kDiskReserveBytes));
}

}  // namespace hadal
