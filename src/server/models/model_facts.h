// What a model's file says of itself, read without loading it. Milliseconds; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace hadal {

struct ModelFacts {
  std::string format;        // "gguf", "safetensors"
  std::string architecture;  // "qwen2"; "": the file does not say
  std::string quantization;  // the format of most of its bytes: "q4_k"
  std::string chat_template;
  std::string licence;  // "": the file does not say
  uint64_t parameters = 0;
  // 0: an architecture that hadal cannot run.
  uint32_t context_tokens = 0, width = 0, layers = 0, vocabulary = 0;
  bool takes_tools = false, thinks = false;  // as far as its chat template tells
};

Result<ModelFacts> read_model_facts(const std::string& path);

}  // namespace hadal
