#include "server/dialects/ollama_models.h"

#include <algorithm>
#include <cctype>

#include "base/json.h"
#include "server/chat/json_text.h"
#include "server/dialects/job_fields.h"
#include "server/dialects/ollama_reply.h"
#include "server/dialects/wire.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr std::string_view kLatest = ":latest";
constexpr auto kNever = std::chrono::hours(24 * 365 * 100);

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string short_count(uint64_t parameters) {
  const auto count = static_cast<double>(parameters);
  if (count >= 1e9) return fmt::format("{:.1f}B", count / 1e9);
  return fmt::format("{:.2f}M", count / 1e6);
}

// Ollama names a model by the SHA-256 of its manifest. Here is no manifest; clients want 64 hex
// digits that are others when the model is another.
std::string digest_of(const ModelEntry& entry) {
  const std::string what =
      fmt::format("{}\n{}\n{}", entry.name, entry.bytes, entry.created_unix_seconds);
  std::string digits;
  for (uint64_t part = 0; part < 4; ++part) {
    uint64_t hash = 0xcbf29ce484222325 + part;  // FNV-1a
    for (const char c : what) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    digits += fmt::format("{:016x}", hash);
  }
  return digits;
}

Json details_json(const ModelFacts& facts) {
  return {{"parent_model", ""},
          {"format", facts.format},
          {"family", facts.architecture},
          {"families", Json::array({facts.architecture})},
          {"parameter_size", short_count(facts.parameters)},
          {"quantization_level", upper(facts.quantization)}};
}

Json model_json(const ModelEntry& entry, const ModelFacts& facts) {
  return {{"name", entry.name},
          {"model", entry.name},
          {"size", entry.bytes},
          {"digest", digest_of(entry)},
          {"details", details_json(facts)}};
}

std::string modified_at(const ModelEntry& entry) {
  return ollama_time(
      std::chrono::system_clock::time_point(std::chrono::seconds(entry.created_unix_seconds)));
}

Json info_json(const ModelFacts& facts) {
  Json info = {{"general.architecture", facts.architecture},
               {"general.parameter_count", facts.parameters}};
  if (facts.context_tokens == 0) return info;
  const std::string& prefix = facts.architecture;
  info[prefix + ".context_length"] = facts.context_tokens;
  info[prefix + ".embedding_length"] = facts.width;
  info[prefix + ".block_count"] = facts.layers;
  info[prefix + ".vocab_size"] = facts.vocabulary;
  return info;
}

struct ShowRequest {
  std::string model;
};
// By its name of today or the older one: Ollama's own program sends both, one of them empty.
RequestResult<void> set_model(ShowRequest& request, const Json& value) {
  if (value != "") request.model = value.get<std::string>();
  return {};
}
constexpr ChatLimits kLimits;
constexpr Field<ShowRequest> kShowFields[] = {
    {{"model", FieldType::kText, 0, kLimits.model_name_bytes_max}, set_model},
    {{"name", FieldType::kText, 0, kLimits.model_name_bytes_max}, set_model},
    {{"verbose", FieldType::kBoolean}},
    // Only where they say nothing: the program sends them always.
    {{"system", FieldType::kText, 0, 0}},
    {{"template", FieldType::kText, 0, 0}},
    {{"options", FieldType::kObject, 0, 0, "OllamaOptions"}},  // of answers, and none is asked for
};

}  // namespace

std::string OllamaModels::resolve(const std::string& name) const {
  if (!name.ends_with(kLatest) || pool_.find(name)) return name;
  const std::string plain = name.substr(0, name.size() - kLatest.size());
  return pool_.find(plain) ? plain : name;
}

ModelFacts OllamaModels::facts(const ModelEntry& entry) {
  std::lock_guard lock(mutex_);
  const auto known = facts_.find(entry.name);
  if (known != facts_.end()) return known->second;
  auto read = read_model_facts(entry.path);
  return facts_[entry.name] = read ? std::move(*read) : ModelFacts{};
}

WebReply OllamaModels::tags() {
  Json models = Json::array();
  for (const ModelStatus& model : pool_.list()) {
    Json entry = model_json(model.entry, facts(model.entry));
    entry["modified_at"] = modified_at(model.entry);
    models.push_back(std::move(entry));
  }
  return json_reply({{"models", std::move(models)}});
}

WebReply OllamaModels::running() {
  Json models = Json::array();
  for (const ModelStatus& model : pool_.list()) {
    if (model.state != ModelState::kLoaded) continue;
    Json entry = model_json(model.entry, facts(model.entry));
    const auto left = std::min<std::chrono::seconds>(model.unloads_in.value_or(kNever), kNever);
    entry["expires_at"] = ollama_time(std::chrono::system_clock::now() + left);
    entry["size_vram"] = 0;
    entry["context_length"] = model.context_tokens;
    models.push_back(std::move(entry));
  }
  return json_reply({{"models", std::move(models)}});
}

FieldForm OllamaModels::show_form() {
  return field_form("OllamaShowRequest", kShowFields);
}

WebReply OllamaModels::show(std::string_view body) {
  const auto object = parse_json_object(body);
  if (!object) return ollama_error_reply(object.error());
  ShowRequest request;
  if (auto read = read_fields<ShowRequest>(*object, kShowFields, request); !read) {
    return ollama_error_reply(read.error());
  }
  const auto model = pool_.find(resolve(request.model));
  if (!model) {
    return ollama_error_reply({.kind = ErrorKind::kNotFound,
                               .message = "this server has no model of that name; GET /api/tags "
                                          "lists them"});
  }
  const ModelFacts facts = this->facts(model->entry);
  Json capabilities = Json::array({"completion"});
  if (facts.takes_tools) capabilities.push_back("tools");
  if (facts.thinks) capabilities.push_back("thinking");
  Json reply = {{"modelfile", ""},
                {"parameters", ""},
                {"template", facts.chat_template},
                {"details", details_json(facts)},
                {"model_info", info_json(facts)},
                {"capabilities", std::move(capabilities)},
                {"modified_at", modified_at(model->entry)}};
  if (!facts.licence.empty()) reply["license"] = facts.licence;
  return json_reply(reply);
}

}  // namespace hadal
