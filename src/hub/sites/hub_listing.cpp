#include "hub/sites/hub_listing.h"

#include <set>

#include "base/json.h"
#include "file/json_tree.h"

namespace hadal {
namespace {

using Json = nlohmann::json;

constexpr int kDepthMax = 16;

// The whole text as a tree; memory is bounded by kListingBytesMax, which the reader of the network
// keeps.
Result<Json> parse(std::string_view text, const std::string& from) {
  if (text.size() > kListingBytesMax) return fail("{}: the answer is too long", from);
  return read_json_tree(text, from, kDepthMax);
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

Result<uint64_t> size_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned() ||
      found->get<uint64_t>() > kFileBytesMax) {
    return fail("a size that is none");
  }
  return found->get<uint64_t>();
}

Result<HubFile> read_tree_entry(const Json& entry) {
  HubFile file{.path = text_of(entry, "path")};
  const auto lfs = entry.find("lfs");
  if (lfs != entry.end() && lfs->is_object()) {
    HADAL_TRY(file.bytes, size_of(*lfs, "size"));
    // "sha256" in older answers.
    const std::string oid = text_of(*lfs, "oid");
    HADAL_TRY(file.digest,
              make_digest(DigestKind::kSha256, oid.empty() ? text_of(*lfs, "sha256") : oid));
    return file;
  }
  HADAL_TRY(file.bytes, size_of(entry, "size"));
  HADAL_TRY(file.digest, make_digest(DigestKind::kGitSha1, text_of(entry, "oid")));
  return file;
}

Result<HubFile> read_modelscope_entry(const Json& entry) {
  HubFile file{.path = text_of(entry, "Path")};
  HADAL_TRY(file.bytes, size_of(entry, "Size"));
  const std::string sha256 = text_of(entry, "Sha256");
  if (!sha256.empty()) {
    HADAL_TRY(file.digest, make_digest(DigestKind::kSha256, sha256));
  }
  return file;
}

template <typename Read>
Status add_entries(const Json& entries, const char* type_key, const char* file_type, Read read,
                   Listing& listing) {
  for (const Json& entry : entries) {
    if (!entry.is_object()) {
      listing.refuse(Error{"an entry that is no object"});
      continue;
    }
    if (text_of(entry, type_key) != file_type) continue;  // a folder
    auto file = read(entry);
    if (!file) {
      listing.refuse(
          Error{fmt::format("{}: {}", shown(text_of(entry, file_type[0] == 'b' ? "Path" : "path")),
                            file.error().message)});
      continue;
    }
    HADAL_TRY_VOID(listing.add(std::move(*file)));
  }
  return {};
}

}  // namespace

void Listing::refuse(const Error& why) {
  ++refused_count;
  if (refused.size() < kRefusedShownMax) refused.push_back(why.message);
}

Status Listing::add(HubFile file) {
  if (const Status good = check_repository_path(file.path); !good) {
    refuse(good.error());
    return {};
  }
  if (files.size() >= kListingFilesMax)
    return fail("the repository has more than {} files, the limit", kListingFilesMax);
  files.push_back(std::move(file));
  return {};
}

Result<std::string> read_hugging_face_commit(std::string_view text, const std::string& from) {
  HADAL_TRY(const Json json, parse(text, from));
  const std::string commit = json.is_object() ? text_of(json, "sha") : "";
  if (!is_commit(commit)) return fail("{}: the answer names no commit ({})", from, shown(commit));
  return commit;
}

Status read_hugging_face_tree(std::string_view text, const std::string& from, Listing& listing) {
  HADAL_TRY(const Json json, parse(text, from));
  if (!json.is_array()) return fail("{}: the answer is no list of files", from);
  return add_entries(json, "type", "file", read_tree_entry, listing);
}

Status read_modelscope_files(std::string_view text, const std::string& from, Listing& listing) {
  HADAL_TRY(const Json json, parse(text, from));
  const Json* files = nullptr;
  if (json.is_object()) {
    const auto data = json.find("Data");
    if (data != json.end() && data->is_object()) {
      const auto list = data->find("Files");
      if (list != data->end()) files = &*list;
    }
  }
  if (files == nullptr || !files->is_array()) {
    const std::string message = json.is_object() ? text_of(json, "Message") : "";
    return fail("{}: the answer is no list of files{}", from,
                message.empty() ? "" : " (" + shown(message) + ")");
  }
  return add_entries(*files, "Type", "blob", read_modelscope_entry, listing);
}

}  // namespace hadal
