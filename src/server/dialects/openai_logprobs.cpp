#include "server/dialects/openai_logprobs.h"

#include <algorithm>

#include "base/json.h"
#include "text/unicode.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

// A token may be part of a character: its text then has U+FFFD, and the bytes stand beside it.
Json bytes_json(const std::string& bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

// JSON has no infinities.
double finite(float log_probability) {
  return std::max<double>(log_probability, -9999.0);
}

Json logprob_json(const ChatLogprob& token) {
  return {{"token", token.bytes},
          {"logprob", finite(token.log_probability)},
          {"bytes", bytes_json(token.bytes)}};
}

}  // namespace

Json token_logprobs_json(std::span<const ChatTokenLogprobs> tokens) {
  Json list = Json::array();
  for (const ChatTokenLogprobs& token : tokens) {
    Json entry = logprob_json(token.chosen);
    Json top = Json::array();
    for (const ChatLogprob& other : token.top) top.push_back(logprob_json(other));
    entry["top_logprobs"] = std::move(top);
    list.push_back(std::move(entry));
  }
  return list;
}

Json completion_logprobs_json(std::span<const ChatTokenLogprobs> tokens, size_t offset) {
  Json result = {{"tokens", Json::array()},
                 {"token_logprobs", Json::array()},
                 {"top_logprobs", Json::array()},
                 {"text_offset", Json::array()}};
  for (const ChatTokenLogprobs& token : tokens) {
    result["tokens"].push_back(token.chosen.bytes);
    result["text_offset"].push_back(offset);
    offset += token.characters;
    if (!token.foretold) {
      result["token_logprobs"].push_back(nullptr);
      result["top_logprobs"].push_back(nullptr);
      continue;
    }
    result["token_logprobs"].push_back(finite(token.chosen.log_probability));
    Json top = Json::object();  // of tokens that are spelled alike, the likeliest
    const auto add = [&](const ChatLogprob& one) {
      top.emplace(replace_invalid_utf8(one.bytes), finite(one.log_probability));
    };
    for (const ChatLogprob& other : token.top) add(other);
    add(token.chosen);
    result["top_logprobs"].push_back(std::move(top));
  }
  return result;
}

}  // namespace hadal
