// JSON Schemas as anyone may send them: any text ends in a grammar or an error, within the limits.
// Of a grammar, what it writes at random is JSON, and it can always be brought to an end.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/grammar/grammar.h"
#include "text/grammar/grammar_walk.h"

namespace {

constexpr size_t kTextBytesMax = 4096;

// The same for the same schema. After a while rather what ends: a quote, a bracket, a digit.
void write(const hadal::Grammar& grammar, uint64_t random) {
  constexpr std::string_view kClosing = "\"}]0";
  hadal::GrammarWalk walk(grammar.automaton());
  hadal::GrammarWalk::Place place = walk.start();
  std::string text;
  while (text.size() < kTextBytesMax) {
    std::vector<uint8_t> allowed;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (walk.next(place, static_cast<uint8_t>(byte)) != hadal::GrammarWalk::kDead) {
        allowed.push_back(static_cast<uint8_t>(byte));
      }
    }
    random = random * 6364136223846793005u + 1442695040888963407u;
    if (walk.may_end(place) && (allowed.empty() || text.size() > 200)) {
      if (!nlohmann::json::accept(text)) std::abort();
      return;
    }
    if (allowed.empty()) std::abort();
    uint8_t byte = allowed[(random >> 33) % allowed.size()];
    for (const char closing : text.size() > 200 && random >> 62 != 0 ? kClosing : "") {
      if (walk.next(place, static_cast<uint8_t>(closing)) == hadal::GrammarWalk::kDead) continue;
      byte = static_cast<uint8_t>(closing);
      break;
    }
    text += static_cast<char>(byte);
    place = walk.next(place, byte);
    if (walk.is_full()) {
      hadal::GrammarWalk::Place* kept[] = {&place};
      walk.forget(kept);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view schema(reinterpret_cast<const char*>(data), size);
  // Smaller limits than a server's, so that a second holds many schemas.
  const auto grammar = hadal::Grammar::compile(
      schema, {.schema_bytes_max = 16 << 10, .states_max = 5000, .work_max = 300'000});
  if (grammar) write(**grammar, size * 0x9E3779B97F4A7C15 + 1);
  return 0;
}
