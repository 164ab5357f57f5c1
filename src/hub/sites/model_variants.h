// Which models a repository offers: each GGUF (a split one with all its parts) is one, a folder of
// safetensors is one. And which of them suits this machine. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/sites/hub_listing.h"

namespace hadal {

struct ModelVariant {
  std::string format;  // "q4_k_m", "ud-q2_k_xl", "bf16": from the file's name, lower case; a
                       // folder's: "safetensors"
  bool folder = false;
  std::vector<HubFile>
      files;  // a GGUF's parts in order; a folder's config and tokenizer before its weights
  uint64_t bytes = 0;
};

// Largest first. Left out: GGUFs that lack parts, projectors (mmproj) and importance matrices.
std::vector<ModelVariant> find_variants(const Listing& listing);

// The format in a GGUF's name: "DeepSeek-R1-Distill-Qwen-7B-UD-Q4_K_XL.gguf" -> "ud-q4_k_xl"; "" if
// none.
std::string format_of_file(std::string_view path);

// NAME-00002-of-00005.gguf: its number, of how many, and what stands before. Also without ".gguf".
struct SplitName {
  std::string stem;
  uint32_t part = 0, parts = 0;
};
std::optional<SplitName> parse_split_name(std::string_view name);

struct VariantWish {
  std::string format;                    // "" = the best that fits; else a format or a file's name
  std::vector<std::string> preferences;  // best first; empty: best_formats()
  uint64_t memory_bytes = 0;             // free
  uint64_t kv_bytes_per_token = 0;  // 0 = not known: a tenth of the file is assumed for the context
};
struct VariantChoice {
  const ModelVariant* variant = nullptr;
  std::string why;  // a sentence; "" where the wish named it
};
inline constexpr uint32_t kChoiceContextTokens = 4096;

// Quality descending, one a size class: what hadal runs and what is worth its bytes.
const std::vector<std::string>& best_formats();

// Errors: none of that format (with those there are), or none fits (with sizes and what to type).
Result<VariantChoice> choose_variant(const std::vector<ModelVariant>& variants,
                                     const VariantWish& wish, std::string_view name);

}  // namespace hadal
