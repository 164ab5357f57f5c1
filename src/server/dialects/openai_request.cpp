#include "server/dialects/openai_request.h"

#include <algorithm>
#include <array>

#include "server/chat/fields.h"
#include "server/chat/json_text.h"
#include "server/dialects/openai_messages.h"

namespace hadal {
namespace {

using Set = RequestResult<void> (*)(OpenAiRequest&, const Json&);
using OpenAiField = Field<OpenAiRequest>;

constexpr ChatLimits kLimits;
constexpr double kTokensMax = 1 << 24;
constexpr double kSeedMost = 9007199254740992.0;  // 2^53: exact as a double

template <auto Member>
RequestResult<void> set_number(OpenAiRequest& request, const Json& value) {
  request.job.*Member = value.get<double>();
  return {};
}
template <auto Member>
RequestResult<void> set_whole(OpenAiRequest& request, const Json& value) {
  request.job.*Member = static_cast<uint32_t>(value.get<double>());
  return {};
}
template <auto Member>
RequestResult<void> set_flag(OpenAiRequest& request, const Json& value) {
  request.*Member = value.get<bool>();
  return {};
}

RequestResult<void> set_model(OpenAiRequest& request, const Json& value) {
  request.job.model = value.get<std::string>();
  return {};
}

// OpenAI's seeds may be negative.
RequestResult<void> set_seed(OpenAiRequest& request, const Json& value) {
  request.job.seed = static_cast<uint64_t>(static_cast<int64_t>(value.get<double>()));
  return {};
}

RequestResult<void> set_stop(OpenAiRequest& request, const Json& value) {
  const auto wrong = [] {
    return refuse_field(ErrorKind::kInvalid, "stop",
                        fmt::format("stop must be a string or a list of 1 to {} strings, each of "
                                    "1 to {} bytes",
                                    kLimits.stop_strings_max, kLimits.stop_string_bytes_max));
  };
  const Json list = value.is_array() ? value : Json::array({value});
  if (list.size() > kLimits.stop_strings_max) return wrong();
  for (const Json& entry : list) {
    if (!entry.is_string()) return wrong();
    const auto& text = entry.get_ref<const std::string&>();
    if (text.empty() || text.size() > kLimits.stop_string_bytes_max) return wrong();
    request.job.stop.push_back(text);
  }
  return {};
}

RequestResult<void> set_stream_options(OpenAiRequest& request, const Json& value) {
  static constexpr OpenAiField kFields[] = {
      {{"include_usage", FieldType::kBoolean}, set_flag<&OpenAiRequest::include_usage>},
  };
  return read_fields<OpenAiRequest>(value, kFields, request, "stream_options");
}

RequestResult<void> set_messages(OpenAiRequest& request, const Json& value) {
  auto messages = read_openai_messages(value);
  if (!messages) return tl::unexpected(messages.error());
  request.job.messages = std::move(*messages);
  return {};
}

RequestResult<void> set_prompt(OpenAiRequest& request, const Json& value) {
  if (value.is_string()) {
    request.job.prompt = value.get<std::string>();
    return {};
  }
  const auto wrong = [] {
    return refuse_field(
        ErrorKind::kInvalid, "prompt",
        "prompt must be a string, or a list of token numbers; one prompt a request");
  };
  if (!value.is_array() || value.empty()) return wrong();
  if (value.size() == 1 && (value[0].is_string() || value[0].is_array())) {
    return set_prompt(request, value[0]);
  }
  for (const Json& token : value) {
    if (!token.is_number_unsigned() || token.get<uint64_t>() > INT32_MAX) return wrong();
    request.job.prompt_tokens.push_back(token.get<TokenId>());
  }
  return {};
}

// A field that may only have the value it has anyway.
template <bool Accepted>
RequestResult<void> only(OpenAiRequest&, const Json& value) {
  if (value.get<bool>() == Accepted) return {};
  return refuse(ErrorKind::kUnsupported, "only {} can be honoured here", Accepted);
}

// What chat and completions share.
constexpr std::array kSharedFields = std::to_array<OpenAiField>({
    {{"model", FieldType::kText, 0, kLimits.model_name_bytes_max}, set_model},
    {{"stream", FieldType::kBoolean}, set_flag<&OpenAiRequest::stream>},
    {{"stream_options", FieldType::kObject}, set_stream_options},
    {{"n", FieldType::kWhole, 1, kLimits.choices_max}, set_whole<&ChatJob::choices>},
    {{"seed", FieldType::kWhole, -kSeedMost, kSeedMost}, set_seed},
    {{"stop", FieldType::kAny}, set_stop},
    {{"max_tokens", FieldType::kWhole, 1, kTokensMax}, set_whole<&ChatJob::max_tokens>},
    {{"temperature", FieldType::kNumber, 0, 2}, set_number<&ChatJob::temperature>},
    {{"top_p", FieldType::kNumber, 0.0001, 1}, set_number<&ChatJob::top_p>},
    {{"top_k", FieldType::kWhole, 0, 1e6}, set_whole<&ChatJob::top_k>},
    {{"min_p", FieldType::kNumber, 0, 0.999}, set_number<&ChatJob::min_p>},
    {{"repetition_penalty", FieldType::kNumber, 0.01, 100},
     set_number<&ChatJob::repetition_penalty>},
    {{"presence_penalty", FieldType::kNumber, -2, 2}, set_number<&ChatJob::presence_penalty>},
    {{"frequency_penalty", FieldType::kNumber, -2, 2}, set_number<&ChatJob::frequency_penalty>},
    {{"user", FieldType::kText, 0, 1024}},
});

constexpr std::array kChatOnly = std::to_array<OpenAiField>({
    {{"messages", FieldType::kList, 1, kLimits.messages_max}, set_messages},
    {{"max_completion_tokens", FieldType::kWhole, 1, kTokensMax}, set_whole<&ChatJob::max_tokens>},
    {{"metadata", FieldType::kObject}},
    {{"safety_identifier", FieldType::kText, 0, 1024}},
    {{"prompt_cache_key", FieldType::kText, 0, 1024}},
    {{"service_tier", FieldType::kText, 0, 64}},
});

constexpr std::array kCompletionOnly = std::to_array<OpenAiField>({
    {{"prompt", FieldType::kAny}, set_prompt},
    {{"echo", FieldType::kBoolean}, set_flag<&OpenAiRequest::echo>},
});

template <size_t A, size_t B>
constexpr std::array<OpenAiField, A + B> joined(const std::array<OpenAiField, A>& first,
                                                const std::array<OpenAiField, B>& second) {
  std::array<OpenAiField, A + B> all;
  std::ranges::copy(first, all.begin());
  std::ranges::copy(second, all.begin() + A);
  return all;
}
constexpr auto kChatFields = joined(kSharedFields, kChatOnly);
constexpr auto kCompletionFields = joined(kSharedFields, kCompletionOnly);

RequestResult<OpenAiRequest> read(std::string_view body, bool chat,
                                  std::span<const OpenAiField> fields) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  OpenAiRequest request{.chat = chat};
  if (auto result = read_fields<OpenAiRequest>(*object, fields, request); !result) {
    return tl::unexpected(result.error());
  }
  return request;
}

}  // namespace

RequestResult<OpenAiRequest> read_openai_chat(std::string_view body) {
  auto request = read(body, true, kChatFields);
  if (request && !request->job.messages) {
    return refuse_field(ErrorKind::kInvalid, "messages", "the request has no messages");
  }
  return request;
}

RequestResult<OpenAiRequest> read_openai_completion(std::string_view body) {
  auto request = read(body, false, kCompletionFields);
  if (!request) return request;
  if (request->job.prompt.empty() && request->job.prompt_tokens.empty()) {
    return refuse_field(ErrorKind::kInvalid, "prompt", "the request has no prompt");
  }
  request->job.parse_thinking = false;
  return request;
}

}  // namespace hadal
