#include "hub/names/model_reference.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "hub/network/http_rules.h"

namespace hadal {
namespace {

constexpr size_t kReferenceBytesMax = 4096;
constexpr size_t kMembersMax = 64;

bool is_package_name(std::string_view text) {
  return !text.empty() && text.size() <= 128 &&
         std::isalnum(static_cast<unsigned char>(text.front())) != 0 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

Result<ModelReference> parse_hub(ModelReference::Kind kind, std::string_view text,
                                 std::string_view whole) {
  ModelReference reference{.kind = kind};
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    reference.format = text.substr(colon + 1);
    text = text.substr(0, colon);
    if (reference.format.empty())
      return fail("{}: a format is missing after the colon", shown(whole));
    HADAL_TRY_VOID(check_repository_path(reference.format));
  }
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    reference.revision = text.substr(at + 1);
    text = text.substr(0, at);
    HADAL_TRY_VOID(check_revision(reference.revision));
  }
  reference.repository = text;
  HADAL_TRY_VOID(check_repository(reference.repository));
  return reference;
}

// Takes "#sha256=HEX" off the end.
Result<Digest> take_digest(std::string_view& text) {
  const size_t hash = text.find('#');
  if (hash == std::string_view::npos) return Digest{};
  std::string_view fragment = text.substr(hash + 1);
  text = text.substr(0, hash);
  if (!fragment.starts_with("sha256="))
    return fail("what stands after # must be sha256=HEX, not {}", shown(fragment));
  return make_digest(DigestKind::kSha256, fragment.substr(7));
}

// https://huggingface.co/OWNER/REPO[/resolve|blob|tree/REVISION[/FILE]], as copied from a browser.
std::optional<Result<ModelReference>> parse_page(std::string_view url) {
  ModelReference::Kind kind = ModelReference::Kind::kHuggingFace;
  std::string_view rest;
  for (const std::string_view head :
       {"https://huggingface.co/", "https://hf.co/", "https://www.huggingface.co/"}) {
    if (url.starts_with(head)) rest = url.substr(head.size());
  }
  for (const std::string_view head :
       {"https://modelscope.cn/models/", "https://www.modelscope.cn/models/"}) {
    if (!url.starts_with(head)) continue;
    rest = url.substr(head.size());
    kind = ModelReference::Kind::kModelScope;
  }
  if (rest.empty()) return std::nullopt;
  rest = rest.substr(0, rest.find('?'));
  std::vector<std::string> parts;
  while (!rest.empty()) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    if (slash > 0) parts.emplace_back(rest.substr(0, slash));
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  if (parts.size() < 2) return std::nullopt;
  std::string text = parts[0] + "/" + parts[1];
  if (parts.size() >= 4 && (parts[2] == "resolve" || parts[2] == "blob" || parts[2] == "tree"))
    text += "@" + parts[3];
  if (parts.size() >= 5 && parts.back().ends_with(".gguf")) text += ":" + parts.back();
  return parse_hub(kind, text, url);
}

Result<ModelReference> parse_url(std::string_view text) {
  ModelReference reference{.kind = ModelReference::Kind::kUrl};
  HADAL_TRY(reference.digest, take_digest(text));
  if (auto page = parse_page(text)) return *page;
  reference.url = text;
  if (const auto origin = origin_of(reference.url); !origin) return forward_error(origin);
  return reference;
}

Result<ModelReference> parse_pypi(std::string_view text, std::string_view whole) {
  ModelReference reference{.kind = ModelReference::Kind::kPypi};
  HADAL_TRY(reference.digest, take_digest(text));
  while (!text.empty()) {
    const size_t plus = std::min(text.find('+'), text.size());
    const std::string_view one = text.substr(0, plus);
    text.remove_prefix(std::min(plus + 1, text.size()));
    const size_t equals = one.find("=="), mark = one.find('!');
    if (equals == std::string_view::npos || mark == std::string_view::npos || mark < equals) {
      return fail("{}: pypi:PACKAGE==VERSION!MEMBER was expected", shown(whole));
    }
    PypiMember member{std::string(one.substr(0, equals)),
                      std::string(one.substr(equals + 2, mark - equals - 2)),
                      std::string(one.substr(mark + 1))};
    if (!is_package_name(member.package) || !is_package_name(member.version)) {
      return fail("{}: {} or {} is no name of a package or version", shown(whole),
                  shown(member.package), shown(member.version));
    }
    HADAL_TRY_VOID(check_repository_path(member.member));
    if (reference.members.size() == kMembersMax)
      return fail("{}: more than {} packages", shown(whole), kMembersMax);
    reference.members.push_back(std::move(member));
  }
  if (reference.members.empty())
    return fail("{}: pypi:PACKAGE==VERSION!MEMBER was expected", shown(whole));
  return reference;
}

}  // namespace

std::string ModelReference::text() const {
  if (kind == Kind::kUrl) return url;
  if (kind == Kind::kPypi) {
    std::string text = "pypi:";
    for (const PypiMember& member : members) {
      text += fmt::format("{}{}=={}!{}", text.size() > 5 ? "+" : "", member.package, member.version,
                          member.member);
    }
    return text;
  }
  return fmt::format("{}{}{}{}", kind == Kind::kHuggingFace ? "hf:" : "ms:", repository,
                     revision.empty() ? "" : "@" + revision, format.empty() ? "" : ":" + format);
}

bool looks_like_reference(std::string_view text) {
  return text.starts_with("hf:") || text.starts_with("ms:") || text.starts_with("pypi:") ||
         text.starts_with("https://") || text.starts_with("http://") || text.starts_with("hf://");
}

Result<ModelReference> parse_model_reference(std::string_view text) {
  if (text.size() > kReferenceBytesMax)
    return fail("the model's name is longer than {} bytes", kReferenceBytesMax);
  if (text.starts_with("hf://"))
    return parse_hub(ModelReference::Kind::kHuggingFace, text.substr(5), text);
  if (text.starts_with("hf:"))
    return parse_hub(ModelReference::Kind::kHuggingFace, text.substr(3), text);
  if (text.starts_with("ms:"))
    return parse_hub(ModelReference::Kind::kModelScope, text.substr(3), text);
  if (text.starts_with("pypi:")) return parse_pypi(text.substr(5), text);
  if (text.starts_with("http://") || text.starts_with("https://")) return parse_url(text);
  return fail(
      "{} is no reference to a model: hf:OWNER/REPO, ms:OWNER/REPO or https://... was expected",
      shown(text));
}

}  // namespace hadal
