// What Ollama's clients ask about models: /api/tags, /api/ps, /api/show.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "server/chat/fields.h"
#include "server/http/message.h"
#include "server/models/model_facts.h"
#include "server/models/model_pool.h"

namespace hadal {

// Any thread.
class OllamaModels {
 public:
  explicit OllamaModels(ModelPool& pool) : pool_(pool) {}  // outlives this

  // Ollama's clients put ":latest" behind a name without a tag. As the pool calls the model; where
  // it has none of that name, the name as it is.
  std::string resolve(const std::string& name) const;

  WebReply tags();
  WebReply running();
  WebReply show(std::string_view body);
  static FieldForm show_form();  // of its body

 private:
  // Read once; a file that cannot be read says nothing of itself.
  ModelFacts facts(const ModelEntry& entry);

  ModelPool& pool_;
  std::mutex mutex_;
  std::map<std::string, ModelFacts> facts_;  // by the model's name
};

}  // namespace hadal
