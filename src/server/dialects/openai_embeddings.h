// OpenAI's embeddings: POST /v1/embeddings
// (https://platform.openai.com/docs/api-reference/embeddings/create). The table in
// openai_embeddings.cpp is the list of what is honoured.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/chat/embed_run.h"
#include "server/chat/fields.h"
#include "server/http/router.h"
#include "server/models/model_pool.h"

namespace hadal {

// pool outlives the routes.
std::vector<Route> openai_embedding_routes(ModelPool& pool);

// A request's body as a job. Errors name the field.
RequestResult<EmbedJob> read_openai_embeddings(std::string_view body);
FieldForm openai_embeddings_form();
// The answer's body.
std::string openai_embeddings_body(const Embeddings& embeddings);

}  // namespace hadal
