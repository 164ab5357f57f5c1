// Text to tokens and back, as vLLM has it: POST /tokenize, /detokenize
// (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html).
#pragma once

#include <vector>

#include "server/chat/fields.h"
#include "server/http/router.h"
#include "server/models/model_pool.h"

namespace hadal {

// pool outlives the routes.
std::vector<Route> token_routes(ModelPool& pool);
std::vector<FieldForm> token_forms();

}  // namespace hadal
