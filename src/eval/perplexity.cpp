#include "eval/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "engine/softmax.h"
#include "eval/npy_writer.h"

namespace hadal {

namespace {

constexpr uint32_t kChunkTokensLeast = 4;

// ln of the sum of e^logit, less the logit: -ln of the token's probability. Not a number if the
// logits are none.
double surprise(std::span<const float> logits, TokenId token) {
  float maximum = logits[0];
  for (const float logit : logits) maximum = logit > maximum ? logit : maximum;
  constexpr size_t kGroup = 64;  // summed in float, the groups in double
  double sum = 0;
  for (size_t first = 0; first < logits.size(); first += kGroup) {
    const size_t count = std::min(kGroup, logits.size() - first);
    float weights[kGroup];
    for (size_t i = 0; i < count; ++i) weights[i] = exp_nonpositive(logits[first + i] - maximum);
    float group_sum = 0;
    for (size_t i = 0; i < count; ++i) group_sum += weights[i];
    sum += group_sum;
  }
  return std::log(sum) + double{maximum} - double{logits[static_cast<size_t>(token)]};
}

Result<std::vector<TokenId>> tokens_of(const Tokenizer& tokenizer, std::string_view text) {
  HADAL_TRY(std::vector<TokenId> tokens, tokenizer.encode(text, SpecialTokens::kAsText));
  if (tokenizer.adds_bos() && tokenizer.bos()) tokens.insert(tokens.begin(), *tokenizer.bos());
  return tokens;
}

// The sum of the surprises of a chunk's second half.
Result<double> score_chunk(Engine& engine, std::span<const TokenId> chunk, uint32_t first) {
  double sum = 0;
  HADAL_TRY_VOID(engine.score(
      chunk,
      [&](uint32_t position, std::span<const float> logits) {
        if (position + 1 == chunk.size()) return false;
        sum += surprise(logits, chunk[position + 1]);
        return true;
      },
      first));
  if (!std::isfinite(sum)) {
    return fail("the model's output is not a number somewhere; its file may be damaged");
  }
  return sum;
}

}  // namespace

Result<Perplexity> measure_perplexity(Engine& engine, const Tokenizer& tokenizer,
                                      std::string_view text, const PerplexityOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const uint32_t length = options.chunk_tokens;
  if (length < kChunkTokensLeast || length > engine.info().context_tokens) {
    return fail("chunks of {} tokens are not possible: from {} to the context's {}", length,
                kChunkTokensLeast, engine.info().context_tokens);
  }
  HADAL_TRY(std::vector<TokenId> tokens, tokens_of(tokenizer, text));
  const auto chunks = static_cast<uint32_t>(tokens.size() / length);
  if (chunks == 0) {
    return fail("the text has {} tokens, too few to score: one chunk is {}", tokens.size(), length);
  }

  Perplexity result;
  double sum = 0;
  const uint32_t first = length / 2;
  for (uint32_t i = 0; i < chunks; ++i) {
    const auto chunk = std::span(tokens).subspan(size_t{i} * length, length);
    if (tokenizer.adds_bos() && tokenizer.bos()) chunk[0] = *tokenizer.bos();
    HADAL_TRY(const double chunk_sum, score_chunk(engine, chunk, first));
    sum += chunk_sum;
    result.tokens += length - 1 - first;
    result.perplexity = std::exp(sum / static_cast<double>(result.tokens));
    ++result.chunks;
    if (options.progress) options.progress({result.chunks, chunks, result.perplexity});
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

Status write_logits(Engine& engine, std::span<const TokenId> tokens,
                    const std::filesystem::path& path) {
  if (tokens.empty()) return fail("there are no tokens to compute logits of");
  HADAL_TRY(NpyWriter writer, NpyWriter::create(path, tokens.size(), engine.info().vocabulary));
  Status written;
  HADAL_TRY_VOID(engine.score(tokens, [&](uint32_t, std::span<const float> logits) {
    written = writer.write_row(logits);
    return written.has_value();
  }));
  HADAL_TRY_VOID(written);
  return writer.finish();
}

}  // namespace hadal
