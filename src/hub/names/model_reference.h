// What a person types to name a model that can be pulled, taken apart and checked:
//
//   deepseek-r1:1.5b            a name of the catalogue; deepseek-r1:1.5b:q8_0 picks the format
//   hf:OWNER/REPO[@REVISION][:FORMAT]      Hugging Face;  ms:... ModelScope
//   https://HOST/PATH/FILE.gguf[#sha256=HEX]
//   pypi:PACKAGE==VERSION!MEMBER[+...][#sha256=HEX]       for the demo model and tests alone
//
// Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/names/hub_names.h"

namespace hadal {

struct PypiMember {
  std::string package, version, member;  // the member's path in the wheel
};

struct ModelReference {
  enum class Kind : uint8_t { kHuggingFace, kModelScope, kUrl, kPypi };
  Kind kind = Kind::kHuggingFace;
  std::string repository, revision, format;  // of a hub; "" = the hub's default, the best that fits
  std::string url;
  std::vector<PypiMember> members;  // joined in order
  Digest digest;                    // of a URL's or PyPI's file, where one was given

  std::string text() const;  // as typed, but without the digest
  bool is_hub() const { return kind == Kind::kHuggingFace || kind == Kind::kModelScope; }
};

// Whether `text` begins as a reference does (so that it is no name of the catalogue and no path).
bool looks_like_reference(std::string_view text);
// Errors say what is wrong with it.
Result<ModelReference> parse_model_reference(std::string_view text);

}  // namespace hadal
