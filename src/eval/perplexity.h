// How well a model predicts a text, and its raw logits for others to compare: the yardsticks of
// every claim about a model's numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

namespace hadal {

struct PerplexityProgress {
  uint32_t chunks_done = 0, chunks = 0;
  double perplexity = 0;  // so far
};

struct PerplexityOptions {
  uint32_t chunk_tokens = 512;  // at least 4; at most the engine's context
  std::function<void(const PerplexityProgress&)> progress;  // after each chunk
};

struct Perplexity {
  double perplexity = 0;  // exp of the mean of -ln p(token) over the scored tokens
  uint64_t tokens = 0;    // scored
  uint32_t chunks = 0;
  double seconds = 0;
};

// As llama.cpp's perplexity tool defines it, so that figures compare: the text is tokenized whole
// (special tokens are not read), cut into chunks of chunk_tokens (a rest is left out), each chunk
// is a sequence of its own, and of each the tokens behind its first half are scored: token i + 1 by
// the logits of position i, i from chunk_tokens / 2 to chunk_tokens - 2. Where the tokenizer adds
// BOS, it stands before the text and takes the place of every chunk's first token. Errors: a text
// of less than one chunk (both counts), a chunk longer than the context, the engine's.
Result<Perplexity> measure_perplexity(Engine& engine, const Tokenizer& tokenizer,
                                      std::string_view text, const PerplexityOptions& options);

// Writes the logits of every position as NumPy's .npy: float32 [tokens, vocabulary]. The file
// appears under its name when it is whole; until then it is `path` + ".part", which a failure
// removes. Errors: the engine's, no tokens, a folder that cannot be written, a full disk.
Status write_logits(Engine& engine, std::span<const TokenId> tokens,
                    const std::filesystem::path& path);

}  // namespace hadal
