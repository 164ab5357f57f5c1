#include "server/chat/json_text.h"

#include <vector>

#include "base/json.h"

namespace hadal {
namespace {

// Counts without building. In a text that is no JSON the counts may be too high, never too low.
RequestResult<void> check_shape(std::string_view text, const JsonTextLimits& limits) {
  std::vector<uint32_t> members{0};  // of each list or object that is open
  uint32_t values = 1;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    switch (c) {
      case '"':
        in_string = true;
        break;
      case '{':
      case '[':
        if (members.size() > limits.depth_max) {
          return refuse(ErrorKind::kInvalid, "the body nests deeper than {} levels",
                        limits.depth_max);
        }
        members.push_back(0);
        ++values;
        break;
      case '}':
      case ']':
        if (members.size() > 1) members.pop_back();
        break;
      case ',':
        ++values;
        break;
      case ':':
        if (++members.back() > limits.keys_max) {
          return refuse(ErrorKind::kInvalid, "an object of the body has more than {} keys",
                        limits.keys_max);
        }
        break;
      default:
        break;
    }
    if (values > limits.values_max) {
      return refuse(ErrorKind::kInvalid, "the body has more than {} values", limits.values_max);
    }
  }
  return {};
}

}  // namespace

RequestResult<nlohmann::ordered_json> parse_json(std::string_view text,
                                                 const JsonTextLimits& limits) {
  if (const auto shape = check_shape(text, limits); !shape) {
    return tl::unexpected(shape.error());
  }
  try {
    return nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    return refuse(ErrorKind::kInvalid, "the body is no JSON: it goes wrong at byte {}", error.byte);
  } catch (const nlohmann::json::exception&) {
    return refuse(ErrorKind::kInvalid, "the body has a number that is too large");
  }
}

RequestResult<nlohmann::ordered_json> parse_json_object(std::string_view text,
                                                        const JsonTextLimits& limits) {
  auto value = parse_json(text, limits);
  if (value && !value->is_object()) {
    return refuse(ErrorKind::kInvalid, "the body is no JSON object");
  }
  return value;
}

}  // namespace hadal
