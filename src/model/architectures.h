// The architectures this room consists of, one file each.
#pragma once

#include "model/model.h"

namespace hadal {

extern const Architecture kLlama;  // Llama 2 and 3, SmolLM2, R1-Distill-Llama
extern const Architecture kQwen2;  // Qwen 2 and 2.5, R1-Distill-Qwen
extern const Architecture kQwen3;  // Qwen 3 (dense), R1-0528-Qwen3

}  // namespace hadal
