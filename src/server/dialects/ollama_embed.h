// Ollama's embeddings: POST /api/embed, and /api/embeddings, which is older
// (https://github.com/ollama/ollama/blob/main/docs/api.md). The tables in ollama_embed.cpp are the
// list of what is honoured.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "server/chat/embed_run.h"
#include "server/dialects/ollama_request.h"

namespace hadal {

struct OllamaEmbedRequest {
  EmbedJob job;  // without inputs the model is only loaded, or unloaded
  std::optional<KeepAlive> keep_alive;
  bool single = false;  // /api/embeddings: one text, its vector as the model gives it
};

RequestResult<OllamaEmbedRequest> read_ollama_embed(std::string_view body);
RequestResult<OllamaEmbedRequest> read_ollama_embeddings(std::string_view body);
std::vector<FieldForm> ollama_embed_forms();

// name: the model as the client called it. seconds: since the request came. Texts that were cut are
// named by "truncated", a list of their places; without any there is no such field.
std::string ollama_embed_body(const OllamaEmbedRequest& request, const std::string& name,
                              const Embeddings& embeddings, double seconds);

}  // namespace hadal
