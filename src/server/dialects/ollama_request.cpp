#include "server/dialects/ollama_request.h"

#include <array>
#include <charconv>
#include <cmath>

#include "server/chat/json_text.h"
#include "server/dialects/job_fields.h"
#include "server/dialects/ollama_messages.h"
#include "server/dialects/openai_tools.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr ChatLimits kLimits;
constexpr double kKeepAliveSecondsMost = 1e9;

// With what can only be read when all fields are known; the body's JSON outlives it.
struct Reading : OllamaRequest {
  const Json* messages = nullptr;
  const Json* tools = nullptr;
  std::string system;
  bool raw = false, logprobs = false;
  uint32_t top_logprobs = 0;
};
using Fields = JobFields<Reading>;
using ReadingField = Field<Reading>;

RequestResult<void> set_stop(Reading& request, const Json& value) {
  return read_stop_strings(value, "options.stop", true, request.job);
}

// -1: without a limit; -2: until the context is full. Both are what 0 means in a job.
RequestResult<void> set_num_predict(Reading& request, const Json& value) {
  const double tokens = value.get<double>();
  request.job.max_tokens = tokens > 0 ? static_cast<uint32_t>(tokens) : 0;
  if (tokens != 0) return {};
  return refuse_field(ErrorKind::kInvalid, "options.num_predict",
                      "options.num_predict must be 1 or more, or -1: without a limit");
}

// Ollama's names for ways of sampling that are not here, but for the values that switch them off.
template <int Off>
RequestResult<void> only_off(Reading&, const Json& value) {
  if (value.is_number() && value.get<double>() == Off) return {};
  if (value.is_boolean() && static_cast<int>(value.get<bool>()) == Off) return {};
  return refuse(ErrorKind::kUnsupported,
                "the options tfs_z, typical_p (other than 1), mirostat (other than 0) and "
                "penalize_newline (other than true) cannot be honoured here");
}
// Where only one value of a flag can be honoured.
template <bool Accepted>
RequestResult<void> only(Reading&, const Json& value) {
  if (value.get<bool>() == Accepted) return {};
  return refuse(ErrorKind::kUnsupported,
                "truncate and shift can only be false: a prompt is never cut here");
}

constexpr ReadingField kOptionFields[] = {
    {{"num_predict", FieldType::kWhole, -2, kTokensFieldMost}, set_num_predict},
    {{"num_ctx", FieldType::kWhole, 1, kTokensFieldMost}, Fields::whole<&ChatJob::context_most>},
    {{"temperature", FieldType::kNumber, 0, 100}, Fields::number<&ChatJob::temperature>},
    {{"top_p", FieldType::kNumber, 0.0001, 1}, Fields::number<&ChatJob::top_p>},
    {{"top_k", FieldType::kWhole, 0, 1e6}, Fields::whole<&ChatJob::top_k>},
    {{"min_p", FieldType::kNumber, 0, 0.999}, Fields::number<&ChatJob::min_p>},
    {{"seed", FieldType::kWhole, -kSeedFieldMost, kSeedFieldMost}, Fields::seed},
    {{"stop", FieldType::kAny, 0, 0, "StopStrings"}, set_stop},
    {{"repeat_penalty", FieldType::kNumber, 0.01, 100},
     Fields::number<&ChatJob::repetition_penalty>},
    {{"presence_penalty", FieldType::kNumber, -2, 2}, Fields::number<&ChatJob::presence_penalty>},
    {{"frequency_penalty", FieldType::kNumber, -2, 2}, Fields::number<&ChatJob::frequency_penalty>},
    {{"tfs_z", FieldType::kAny, 0, 0, "SwitchedOffByOne"}, only_off<1>},
    {{"typical_p", FieldType::kAny, 0, 0, "SwitchedOffByOne"}, only_off<1>},
    {{"mirostat", FieldType::kAny, 0, 0, "SwitchedOffByZero"}, only_off<0>},
    {{"penalize_newline", FieldType::kAny, 0, 0, "SwitchedOffByOne"}, only_off<1>},
    // How Ollama is to compute, which is not what it answers.
    {{"num_keep", FieldType::kWhole, -1, kTokensFieldMost}},
    {{"num_batch", FieldType::kWhole, 1, 1e6}},
    {{"num_gpu", FieldType::kWhole, -1, 1e6}},
    {{"main_gpu", FieldType::kWhole, 0, 1e6}},
    {{"num_thread", FieldType::kWhole, 0, 1e6}},
    {{"numa", FieldType::kBoolean}},
    {{"low_vram", FieldType::kBoolean}},
    {{"f16_kv", FieldType::kBoolean}},
    {{"use_mmap", FieldType::kBoolean}},
    {{"use_mlock", FieldType::kBoolean}},
};
RequestResult<void> set_options(Reading& request, const Json& value) {
  return read_fields<Reading>(value, kOptionFields, request, "options");
}

RequestResult<void> set_format(Reading& request, const Json& value) {
  if (value == "") return {};
  if (value == "json") {
    request.job.schema = R"({"type":"object"})";
    return {};
  }
  if (!value.is_object()) {
    return refuse_field(ErrorKind::kInvalid, "format", "format must be \"json\" or a JSON Schema");
  }
  request.job.schema = value.dump();
  return {};
}

RequestResult<void> set_think(Reading& request, const Json& value) {
  request.job.thinking_field = "think";
  if (value.is_boolean()) {
    request.job.thinking = value.get<bool>() ? Thinking::kOn : Thinking::kOff;
    return {};
  }
  if (value.is_string() && read_effort(value.get_ref<const std::string&>(), request.job)) return {};
  return refuse_field(ErrorKind::kInvalid, "think", "think must be true, false, or low to high");
}

RequestResult<void> set_keep_alive(Reading& request, const Json& value) {
  auto keep_alive = read_keep_alive(value);
  if (!keep_alive) return tl::unexpected(keep_alive.error());
  request.keep_alive = *keep_alive;
  return {};
}

RequestResult<void> set_prompt(Reading& request, const Json& value) {
  if (value != "") request.job.prompts.emplace_back(value.get<std::string>());
  return {};
}

constexpr std::array kSharedFields = std::to_array<ReadingField>({
    {{"model", FieldType::kText, 1, kLimits.model_name_bytes_max}, Fields::model},
    {{"stream", FieldType::kBoolean}, Fields::flag<&Reading::stream>},
    {{"options", FieldType::kObject, 0, 0, "OllamaOptions"}, set_options},
    {{"format", FieldType::kAny, 0, 0, "OllamaFormat"}, set_format},
    {{"think", FieldType::kAny, 0, 0, "OllamaThink"}, set_think},
    {{"keep_alive", FieldType::kAny, 0, 0, "KeepAlive"}, set_keep_alive},
    {{"logprobs", FieldType::kBoolean}, Fields::flag<&Reading::logprobs>},
    {{"top_logprobs", FieldType::kWhole, 0, kLimits.top_logprobs_max},
     [](Reading& request, const Json& value) -> RequestResult<void> {
       request.top_logprobs = static_cast<uint32_t>(value.get<double>());
       return {};
     }},
    {{"truncate", FieldType::kBoolean, 0, 0, "False"}, only<false>},
    {{"shift", FieldType::kBoolean, 0, 0, "False"}, only<false>},
});
constexpr std::array kChatOnly = std::to_array<ReadingField>({
    {{"messages", FieldType::kList, 0, kLimits.messages_max, "OllamaMessage"},
     Fields::later<&Reading::messages>},
    {{"tools", FieldType::kList, 0, kLimits.tools_max, "OpenAiTool"},
     Fields::later<&Reading::tools>},
});
constexpr std::array kGenerateOnly = std::to_array<ReadingField>({
    {{"prompt", FieldType::kText, 0, kTextFieldMost}, set_prompt},
    {{"system", FieldType::kText, 0, kTextFieldMost}, Fields::text<&Reading::system>},
    {{"raw", FieldType::kBoolean}, Fields::flag<&Reading::raw>},
    // Only where they say nothing: the client sends them always.
    {{"suffix", FieldType::kText, 0, 0}},
    {{"template", FieldType::kText, 0, 0}},
    {{"images", FieldType::kList, 0, 0}},
    {{"context", FieldType::kList, 0, 0}},
});

template <size_t N>
std::vector<ReadingField> with_shared(const std::array<ReadingField, N>& only) {
  std::vector<ReadingField> fields(kSharedFields.begin(), kSharedFields.end());
  fields.insert(fields.end(), only.begin(), only.end());
  return fields;
}

RequestResult<Reading> read(const Json& object, const std::vector<ReadingField>& fields,
                            bool chat) {
  Reading request;
  request.chat = chat;
  if (auto done = read_fields<Reading>(object, fields, request); !done) {
    return tl::unexpected(done.error());
  }
  if (request.job.model.empty()) {
    return refuse_field(ErrorKind::kInvalid, "model", "model: the request names none");
  }
  if (request.logprobs) request.job.top_logprobs = request.top_logprobs;
  return request;
}

}  // namespace

RequestResult<void> read_ollama_options(const Json& value, ChatJob& job) {
  Reading reading;
  if (auto read = set_options(reading, value); !read) return read;
  job = std::move(reading.job);
  return {};
}

std::vector<FieldForm> ollama_forms() {
  std::vector<FieldForm> forms = {
      field_form("OllamaChatRequest", with_shared(kChatOnly), {"model"}),
      field_form("OllamaGenerateRequest", with_shared(kGenerateOnly), {"model"}),
      field_form("OllamaOptions", kOptionFields),
  };
  append_ollama_message_forms(forms);
  return forms;
}

RequestResult<KeepAlive> read_keep_alive(const Json& value) {
  const auto wrong = [] {
    return refuse_field(ErrorKind::kInvalid, "keep_alive",
                        "keep_alive must be seconds, or a duration like \"5m\"; below zero: for "
                        "good");
  };
  double seconds = 0;
  if (value.is_number()) {
    seconds = value.get<double>();
  } else if (value.is_string()) {
    static constexpr std::pair<std::string_view, double> kUnits[] = {
        {"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
    std::string_view text = value.get_ref<const std::string&>();
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    if (text.empty()) return wrong();
    while (!text.empty()) {
      double number = 0;
      const auto [end, error] =
          std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
      if (error != std::errc()) return wrong();
      text.remove_prefix(static_cast<size_t>(end - text.data()));
      const std::string_view unit = text.substr(0, text.find_first_of("0123456789.-"));
      double factor = unit.empty() ? 1 : 0;
      for (const auto& [name, is] : kUnits) {
        if (unit == name) factor = is;
      }
      if (factor == 0 || !(number >= 0)) return wrong();
      seconds += number * factor;
      text.remove_prefix(unit.size());
    }
    if (negative) seconds = -seconds - 1e-9;
  } else {
    return wrong();
  }
  if (seconds < 0) return KeepAlive();
  if (!(seconds <= kKeepAliveSecondsMost)) return KeepAlive();
  return KeepAlive(std::chrono::seconds(static_cast<int64_t>(std::ceil(seconds))));
}

RequestResult<OllamaRequest> read_ollama_chat(std::string_view body) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  auto request = read(*object, with_shared(kChatOnly), true);
  if (!request) return tl::unexpected(request.error());
  if (request->tools != nullptr) {
    if (auto done = read_tools(*request->tools, request->job); !done) {
      return tl::unexpected(done.error());
    }
  }
  if (!request->job.schema.empty() && request->job.tools.is_array()) {
    return refuse_field(ErrorKind::kUnsupported, "format",
                        "format cannot be honoured together with tools");
  }
  if (request->messages == nullptr || request->messages->empty()) {
    request->loads_only = true;
    return static_cast<OllamaRequest&&>(*request);
  }
  auto messages = read_ollama_messages(*request->messages);
  if (!messages) return tl::unexpected(messages.error());
  request->job.messages = std::move(*messages);
  return static_cast<OllamaRequest&&>(*request);
}

RequestResult<OllamaRequest> read_ollama_generate(std::string_view body) {
  const auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  auto request = read(*object, with_shared(kGenerateOnly), false);
  if (!request) return tl::unexpected(request.error());
  ChatJob& job = request->job;
  request->loads_only = job.prompts.empty();
  if (request->raw) {
    job.parse_thinking = false;
    if (!request->system.empty()) {
      return refuse_field(ErrorKind::kInvalid, "system", "system: a raw prompt has none");
    }
    if (job.thinking == Thinking::kOn) {
      return refuse_field(ErrorKind::kUnsupported, "think",
                          "think: whether a raw prompt is thought about lies in the prompt");
    }
  } else {
    job.messages = Json::array();
    if (!request->system.empty()) {
      job.messages->push_back({{"role", "system"}, {"content", request->system}});
    }
    if (!request->loads_only) {
      job.messages->push_back(
          {{"role", "user"}, {"content", std::get<std::string>(job.prompts.front())}});
    }
  }
  return static_cast<OllamaRequest&&>(*request);
}

}  // namespace hadal
