#include "server/dialects/tokens.h"

#include "base/json.h"
#include "server/chat/job_prompt.h"
#include "server/chat/json_text.h"
#include "server/dialects/job_fields.h"
#include "server/dialects/openai_errors.h"
#include "server/dialects/openai_messages.h"
#include "server/dialects/wire.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr ChatLimits kLimits;

struct TokensRequest {
  ChatJob job;
  std::vector<TokenId> tokens;
  std::optional<bool> add_special;  // BOS; messages have theirs from the template
  bool token_texts = false;
};
using Fields = JobFields<TokensRequest>;

RequestResult<void> set_prompt(TokensRequest& request, const Json& value) {
  request.job.prompts.emplace_back(value.get<std::string>());
  return {};
}
RequestResult<void> set_messages(TokensRequest& request, const Json& value) {
  auto messages = read_openai_messages(value);
  if (!messages) return tl::unexpected(messages.error());
  request.job.messages = std::move(*messages);
  return {};
}
RequestResult<void> set_special(TokensRequest& request, const Json& value) {
  request.add_special = value.get<bool>();
  return {};
}
RequestResult<void> only_true(TokensRequest&, const Json& value) {
  if (value.get<bool>()) return {};
  return refuse_field(ErrorKind::kUnsupported, "add_generation_prompt",
                      "add_generation_prompt can only be true here");
}
RequestResult<void> set_tokens(TokensRequest& request, const Json& value) {
  for (const Json& token : value) {
    if (!token.is_number_unsigned() || token.get<uint64_t>() > INT32_MAX) {
      return refuse_field(ErrorKind::kInvalid, "tokens", "tokens must be a list of token numbers");
    }
    request.tokens.push_back(token.get<TokenId>());
  }
  return {};
}

constexpr Field<TokensRequest> kTokenizeFields[] = {
    {{"model", FieldType::kText, 0, kLimits.model_name_bytes_max}, Fields::model},
    {{"prompt", FieldType::kText, 0, kTextFieldMost}, set_prompt},
    {{"messages", FieldType::kList, 1, kLimits.messages_max, "OpenAiMessage"}, set_messages},
    {{"add_special_tokens", FieldType::kBoolean}, set_special},
    {{"add_generation_prompt", FieldType::kBoolean, 0, 0, "True"}, only_true},
    {{"return_token_strs", FieldType::kBoolean}, Fields::flag<&TokensRequest::token_texts>},
};
constexpr Field<TokensRequest> kDetokenizeFields[] = {
    {{"model", FieldType::kText, 0, kLimits.model_name_bytes_max}, Fields::model},
    {{"tokens", FieldType::kList, 0, kTokensFieldMost, "TokenNumber"}, set_tokens},
};

RequestResult<TokensRequest> read(std::string_view body,
                                  std::span<const Field<TokensRequest>> fields) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  TokensRequest request;
  if (auto done = read_fields<TokensRequest>(*object, fields, request); !done) {
    return tl::unexpected(done.error());
  }
  return request;
}

// No length is too long to be counted.
RequestResult<std::vector<TokenId>> tokens_of(const ServedModel& model, TokensRequest& request) {
  if (request.job.messages || request.add_special.value_or(true)) {
    auto prompt = render_prompt(model, request.job);
    if (!prompt) return tl::unexpected(prompt.error());
    return std::move(prompt->tokens);
  }
  auto tokens = model.generator().tokenizer()->encode(
      std::get<std::string>(request.job.prompts.front()), SpecialTokens::kAsText);
  if (!tokens) return refuse(ErrorKind::kInvalid, "{}", tokens.error().message);
  return std::move(*tokens);
}

WebReply tokenized(ServedModel& model, TokensRequest& request) {
  const auto tokens = tokens_of(model, request);
  if (!tokens) return openai_error_reply(tokens.error());
  Json reply = {{"count", tokens->size()},
                {"max_model_len", model.generator().engine().info().context_tokens},
                {"tokens", *tokens},
                {"token_strs", nullptr}};
  if (request.token_texts) {
    reply["token_strs"] = Json::array();
    for (const TokenId token : *tokens) {
      reply["token_strs"].push_back(model.generator().tokenizer()->token_bytes(token));
    }
  }
  return json_reply(reply);
}

WebReply detokenized(ServedModel& model, TokensRequest& request) {
  const Tokenizer& tokenizer = *model.generator().tokenizer();
  for (const TokenId token : request.tokens) {
    if (static_cast<uint32_t>(token) < tokenizer.vocabulary_size()) continue;
    return openai_error_reply({.kind = ErrorKind::kInvalid,
                               .message = fmt::format("tokens has {}, but the vocabulary has {}",
                                                      token, tokenizer.vocabulary_size()),
                               .field = "tokens"});
  }
  return json_reply({{"prompt", tokenizer.decode(request.tokens, SpecialTokens::kParsed)}});
}

using Work = WebReply (*)(ServedModel&, TokensRequest&);

void answer(ModelPool& pool, RequestResult<TokensRequest> request, Work work,
            const std::shared_ptr<Exchange>& exchange) {
  if (!request) return exchange->reply(openai_error_reply(request.error()));
  const auto shared = std::make_shared<TokensRequest>(std::move(*request));
  with_model(pool, shared->job.model, [shared, work, exchange](RequestResult<ModelLease> lease) {
    exchange->reply(lease ? work(**lease, *shared) : openai_error_reply(lease.error()));
  });
}

}  // namespace

std::vector<FieldForm> token_forms() {
  return {field_form("TokenizeRequest", kTokenizeFields),
          field_form("DetokenizeRequest", kDetokenizeFields)};
}

std::vector<Route> token_routes(ModelPool& pool) {
  return {
      {.method = "POST",
       .path = "/tokenize",
       .handler =
           [&pool](const WebRequest& http, const std::shared_ptr<Exchange>& exchange) {
             auto request = read(http.body, kTokenizeFields);
             if (request && request->job.prompts.empty() != request->job.messages.has_value()) {
               request = refuse_field(ErrorKind::kInvalid, "prompt",
                                      "the request must have either a prompt or messages");
             }
             answer(pool, std::move(request), tokenized, exchange);
           },
       .about = {.group = "Tokens",
                 .summary = "The tokens of a prompt or of messages",
                 .body = "TokenizeRequest",
                 .reply = "TokenizeReply"}},
      {.method = "POST",
       .path = "/detokenize",
       .handler =
           [&pool](const WebRequest& http, const std::shared_ptr<Exchange>& exchange) {
             answer(pool, read(http.body, kDetokenizeFields), detokenized, exchange);
           },
       .about = {.group = "Tokens",
                 .summary = "The text of tokens",
                 .body = "DetokenizeRequest",
                 .reply = "DetokenizeReply"}},
  };
}

}  // namespace hadal
