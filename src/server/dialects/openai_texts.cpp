#include "server/dialects/openai_texts.h"

#include <optional>

#include "server/chat/fields.h"

namespace hadal {
namespace {

bool is_token(const Json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= INT32_MAX;
}

// nullopt: it is neither a string nor tokens, or empty.
std::optional<PromptText> read_text(const Json& value) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text.empty()) return std::nullopt;
    return text;
  }
  if (!value.is_array() || value.empty()) return std::nullopt;
  std::vector<TokenId> tokens;
  for (const Json& token : value) {
    if (!is_token(token)) return std::nullopt;
    tokens.push_back(token.get<TokenId>());
  }
  return tokens;
}

}  // namespace

RequestResult<std::vector<PromptText>> read_texts(const Json& value, const char* field,
                                                  uint32_t most) {
  const auto wrong = [&] {
    return refuse_field(
        ErrorKind::kInvalid, field,
        fmt::format("{} must be a string, a list of token numbers, or a list of 1 to {} such; none "
                    "of them empty",
                    field, most));
  };
  const bool many = value.is_array() && !value.empty() && !is_token(value[0]);
  const Json single = many ? Json() : Json::array({value});
  const Json& entries = many ? value : single;
  if (entries.size() > most) return wrong();
  std::vector<PromptText> texts;
  for (const Json& entry : entries) {
    auto text = read_text(entry);
    if (!text) return wrong();
    texts.push_back(std::move(*text));
  }
  return texts;
}

}  // namespace hadal
