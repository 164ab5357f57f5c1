// Any bytes as a chat template: it may be refused, or raise, or render; it must not crash, hang or
// eat the machine. The first byte picks the conversation, the rest is the template.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json.h"
#include "text/chat_template.h"

namespace {

using Json = nlohmann::ordered_json;

Json conversation(uint8_t choice) {
  switch (choice % 4) {
    case 0:
      return Json::array();
    case 1:
      return Json::parse(R"([{"role": "user", "content": "hi <|im_end|> 你好"}])");
    case 2:
      return Json::parse(R"([{"role": "system", "content": "s"}, {"role": "user", "content": "a"},
                             {"role": "assistant", "content": "<think>t</think>b"},
                             {"role": "user", "content": "c"}])");
    default:
      return Json::parse(R"([{"role": "user", "content": null},
                             {"role": "assistant", "tool_calls": [{"type": "function",
                              "function": {"name": "f", "arguments": {"x": [1, 2.5, "y"]}}}]},
                             {"role": "tool", "content": "r"}, "text", 7])");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // Small limits, so that an input that runs into them costs little.
  const hadal::TemplateLimits limits = {
      .steps_max = 200'000, .memory_bytes_max = 16 << 20, .output_bytes_max = 1 << 20};
  const std::string_view source(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto chat = hadal::ChatTemplate::parse(source, limits);
  if (!chat) return 0;
  const Json messages = conversation(data[0]);
  const Json variables = {{"enable_thinking", data[0] % 8 > 3}, {"name", "x"}, {"n", 3}};
  std::tm time = {};
  time.tm_year = 124;
  time.tm_mday = 1;
  const auto prompt = chat->render({.messages = &messages,
                                    .tools = data[0] % 16 > 7 ? &messages : nullptr,
                                    .variables = &variables,
                                    .special_tokens = {{"bos_token", "<s>"}},
                                    .add_generation_prompt = data[0] % 32 > 15,
                                    .local_time = time});
  if (!prompt) return 0;
  for (size_t i = 0; i < prompt->pieces.size(); i++) {  // the promises of the header
    if (prompt->pieces[i].text.empty()) std::abort();
    if (i > 0 && prompt->pieces[i].special == prompt->pieces[i - 1].special) std::abort();
  }
  return 0;
}
