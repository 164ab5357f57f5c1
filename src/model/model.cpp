#include "model/model.h"

#include <fmt/ranges.h>

#include <array>

#include "base/utf8.h"
#include "model/architectures.h"

namespace hadal {

std::span<const Architecture> architectures() {
  static const std::array kAll = {kLlama,      kQwen2,  kQwen3,        kDeepSeekV2,
                                  kDeepSeekV3, kKimiK2, kDeepSeek2Gguf};
  return kAll;
}

Result<const Architecture*> find_architecture(std::string_view name) {
  std::vector<std::string_view> known;
  for (const Architecture& architecture : architectures()) {
    if (architecture.name == name) return &architecture;
    known.push_back(architecture.name);
  }
  return fail("the model's architecture is {}, which hadal does not know; it knows {}", quote(name),
              fmt::join(known, ", "));
}

}  // namespace hadal
