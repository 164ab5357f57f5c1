#include "hub/sites/model_variants.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "base/sizes.h"

namespace hadal {
namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::string_view file_name(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// "q4_k_m", "iq2_xxs", "tq1_0", "bf16", "mxfp4_moe": a word of a lower-case name.
bool is_format_word(std::string_view word) {
  if (word == "bf16" || word == "f16" || word == "fp16" || word == "f32" || word == "fp8")
    return true;
  if (word.starts_with("mxfp4")) return true;
  if (word.starts_with("iq") || word.starts_with("tq")) word.remove_prefix(1);  // then as q...
  return word.size() >= 4 && word[0] == 'q' &&
         std::isdigit(static_cast<unsigned char>(word[1])) != 0 && word[2] == '_';
}

// The last word of a name that is a format, with "ud-" where that stands before it.
std::string format_in(std::string_view name) {
  std::string found;
  const std::string lower = lower_case(name);
  std::string before;
  for (size_t at = 0; at <= lower.size();) {
    const size_t end = std::min(lower.find_first_of("-.", at), lower.size());
    const std::string word = lower.substr(at, end - at);
    if (is_format_word(word)) found = before == "ud" ? "ud-" + word : word;
    before = word;
    at = end + 1;
  }
  return found;
}

bool is_weights_folder_file(const std::string& path) {
  if (path.find('/') != std::string::npos) return false;
  const std::string lower = lower_case(path);
  for (const std::string_view ending : {".safetensors", ".json", ".jinja", ".model"}) {
    if (lower.ends_with(ending)) return true;
  }
  return lower == "merges.txt" || lower == "vocab.txt" || lower.starts_with("license");
}

void add_folder(const Listing& listing, std::vector<ModelVariant>& variants) {
  ModelVariant folder{.format = "safetensors", .folder = true};
  bool config = false, weights = false;
  for (const HubFile& file : listing.files) {
    if (!is_weights_folder_file(file.path)) continue;
    config = config || file.path == "config.json";
    weights = weights || file.path.ends_with(".safetensors");
    folder.bytes += file.bytes;
    folder.files.push_back(file);
  }
  if (!config || !weights) return;
  std::stable_sort(folder.files.begin(), folder.files.end(),
                   [](const HubFile& a, const HubFile& b) {
                     const bool a_weights = a.path.ends_with(".safetensors"),
                                b_weights = b.path.ends_with(".safetensors");
                     return a_weights != b_weights ? b_weights : a.path < b.path;
                   });
  variants.push_back(std::move(folder));
}

struct GgufGroup {
  std::map<uint32_t, HubFile> files;  // by part, from 1
  uint32_t parts = 1;
};

std::string sizes_of(const std::vector<ModelVariant>& variants) {
  std::vector<std::string> words;
  for (const ModelVariant& variant : variants)
    words.push_back(fmt::format("{} ({})", variant.format, format_bytes(variant.bytes)));
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace

std::optional<SplitName> parse_split_name(std::string_view name) {
  if (name.ends_with(".gguf")) name.remove_suffix(5);
  constexpr size_t kSuffix = sizeof("-00001-of-00005") - 1;
  if (name.size() <= kSuffix) return std::nullopt;
  const std::string_view suffix = name.substr(name.size() - kSuffix);
  if (suffix[0] != '-' || suffix.substr(6, 4) != "-of-" || !all_digits(suffix.substr(1, 5)) ||
      !all_digits(suffix.substr(10))) {
    return std::nullopt;
  }
  return SplitName{std::string(name.substr(0, name.size() - kSuffix)),
                   static_cast<uint32_t>(std::stoul(std::string(suffix.substr(1, 5)))),
                   static_cast<uint32_t>(std::stoul(std::string(suffix.substr(10))))};
}

std::string format_of_file(std::string_view path) {
  std::string_view name = file_name(path);
  if (name.ends_with(".gguf")) name.remove_suffix(5);
  const auto split = parse_split_name(name);
  std::string format = format_in(split ? std::string_view(split->stem) : name);
  const size_t slash = path.rfind('/');
  if (format.empty() && slash != std::string_view::npos)
    format = format_in(file_name(path.substr(0, slash)));
  return format;
}

std::vector<ModelVariant> find_variants(const Listing& listing) {
  std::map<std::string, GgufGroup> groups;  // by path without part and ending
  for (const HubFile& file : listing.files) {
    const std::string lower = lower_case(file_name(file.path));
    if (!lower.ends_with(".gguf") || lower.find("mmproj") != std::string::npos ||
        lower.find("imatrix") != std::string::npos) {
      continue;
    }
    const auto split = parse_split_name(file.path);
    GgufGroup& group = groups[split ? fmt::format("{}|{}", split->stem, split->parts) : file.path];
    group.parts = split ? split->parts : 1;
    group.files[split ? split->part : 1] = file;
  }
  std::vector<ModelVariant> variants;
  for (auto& [stem, group] : groups) {
    // A part 0 or beyond the last, or a missing one: nobody could open it.
    if (group.files.size() != group.parts || group.files.begin()->first != 1 ||
        group.files.rbegin()->first != group.parts)
      continue;
    ModelVariant variant;
    for (auto& [part, file] : group.files) {
      variant.bytes += file.bytes;
      variant.files.push_back(std::move(file));
    }
    variant.format = format_of_file(variant.files.front().path);
    variants.push_back(std::move(variant));
  }
  // A format that names two files, or none, names nothing: then the file's own name does.
  std::map<std::string, int> seen;
  for (const ModelVariant& variant : variants) ++seen[variant.format];
  for (ModelVariant& variant : variants) {
    if (variants.size() == 1 && variant.format.empty()) variant.format = "gguf";
    if (variant.format.empty() || seen[variant.format] > 1)
      variant.format = lower_case(file_name(variant.files.front().path));
  }
  add_folder(listing, variants);
  std::stable_sort(variants.begin(), variants.end(),
                   [](const ModelVariant& a, const ModelVariant& b) { return a.bytes > b.bytes; });
  return variants;
}

const std::vector<std::string>& best_formats() {
  static const std::vector<std::string> formats = {
      "q8_0",       "q6_k",   "q5_k_m", "q5_k_s",     "q4_k_m",     "ud-q4_k_xl", "q4_k_s",
      "iq4_xs",     "q4_0",   "q3_k_l", "q3_k_m",     "q3_k_s",     "iq3_m",      "iq3_xxs",
      "ud-q2_k_xl", "q2_k_l", "q2_k",   "iq2_m",      "ud-iq2_xxs", "iq2_xxs",    "ud-iq1_m",
      "ud-iq1_s",   "iq1_m",  "iq1_s",  "safetensors"};
  return formats;
}

Result<VariantChoice> choose_variant(const std::vector<ModelVariant>& variants,
                                     const VariantWish& wish, std::string_view name) {
  if (variants.empty())
    return fail("{} has no GGUF and no safetensors with a config.json, so there is nothing to run",
                name);
  const auto memory_for = [&](const ModelVariant& variant) {
    const uint64_t kv = wish.kv_bytes_per_token > 0 ? wish.kv_bytes_per_token * kChoiceContextTokens
                                                    : variant.bytes / 10;
    return variant.bytes + kv;
  };
  if (!wish.format.empty()) {
    const std::string wanted = lower_case(wish.format);
    for (const ModelVariant& variant : variants) {
      const std::string own = lower_case(file_name(variant.files.front().path));
      if (variant.format == wanted ||
          (!variant.folder && (own == wanted || own == wanted + ".gguf")))
        return VariantChoice{&variant, ""};
    }
    return fail("{} has no format {}. It has {}", name, shown(wish.format), sizes_of(variants));
  }
  if (variants.size() == 1) return VariantChoice{&variants.front(), ""};
  for (const std::string& format : wish.preferences.empty() ? best_formats() : wish.preferences) {
    for (const ModelVariant& variant : variants) {
      if (variant.format != format || memory_for(variant) > wish.memory_bytes) continue;
      return VariantChoice{
          &variant, fmt::format("{} is the best format that fits: {} with a context of {} tokens, "
                                "of {} free memory. There are {}",
                                format, format_bytes(memory_for(variant)), kChoiceContextTokens,
                                format_bytes(wish.memory_bytes), sizes_of(variants))};
    }
  }
  const ModelVariant& smallest = variants.back();
  if (memory_for(smallest) <= wish.memory_bytes) {
    return VariantChoice{&smallest, fmt::format("{} is the smallest there is. There are {}",
                                                smallest.format, sizes_of(variants))};
  }
  return fail(
      "no format of {} fits this machine: the smallest, {}, needs {} with a context of {} tokens, "
      "and {} of memory are free. "
      "`hadal pull {}:{}` fetches it all the same; there are {}",
      name, smallest.format, format_bytes(memory_for(smallest)), kChoiceContextTokens,
      format_bytes(wish.memory_bytes), name, smallest.format, sizes_of(variants));
}

}  // namespace hadal
