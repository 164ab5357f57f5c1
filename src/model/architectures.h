// The architectures this room consists of, one file each.
#pragma once

#include "model/model.h"

namespace hadal {

extern const Architecture kLlama;          // Llama 2 and 3, SmolLM2, R1-Distill-Llama
extern const Architecture kQwen2;          // Qwen 2 and 2.5, R1-Distill-Qwen
extern const Architecture kQwen3;          // Qwen 3 (dense), R1-0528-Qwen3
extern const Architecture kDeepSeekV2;     // DeepSeek-V2, V2-Lite, V2.5, Coder-V2: folders
extern const Architecture kDeepSeekV3;     // DeepSeek-V3, R1, V3.1, Moonlight: folders
extern const Architecture kKimiK2;         // Kimi K2: the same by another name
extern const Architecture kDeepSeek2Gguf;  // all of them as GGUF

}  // namespace hadal
