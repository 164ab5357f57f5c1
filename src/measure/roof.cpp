#include "measure/roof.h"

#include <algorithm>
#include <cmath>

namespace hadal {
namespace {

double seconds(double amount, double amount_per_s) {
  return amount_per_s > 0 ? amount / amount_per_s : 0;
}

double attention_seconds(const EngineInfo& info, const MachineSpeeds& machine,
                         const RoofStep& step) {
  const AttentionWork& work = info.attention;
  const double positions = step.past + step.tokens;
  // A token sees those before it and itself.
  const double pairs = step.tokens * (step.past + (step.tokens + 1) / 2);
  double multiply_adds = pairs * static_cast<double>(work.pair);
  if (work.expanded_pair > 0) {  // the new positions' expansion is among the weights' products
    multiply_adds =
        std::min(multiply_adds, pairs * static_cast<double>(work.expanded_pair) +
                                    step.past * static_cast<double>(work.expanded_position));
  }
  const double bytes = positions * static_cast<double>(info.kv_bytes_per_token);
  return step.sequences * std::max(seconds(bytes, machine.read_bytes_per_s),
                                   seconds(multiply_adds, machine.attention_multiply_adds_per_s));
}

}  // namespace

double roof_seconds(const EngineInfo& info, const MachineSpeeds& machine, const RoofStep& step) {
  double total = attention_seconds(info, machine, step);
  for (const MatrixWork& matrix : info.matrices) {
    const double tokens = matrix.head ? step.logit_rows : step.sequences * step.tokens;
    const double bytes = experts_touched(matrix, tokens) * static_cast<double>(matrix.bytes);
    const double multiply_adds =
        tokens * matrix.experts_per_token * static_cast<double>(matrix.multiply_adds);
    total += std::max(seconds(bytes, machine.read_bytes_per_s),
                      seconds(multiply_adds, machine.weights_multiply_adds_per_s));
  }
  return total;
}

double prompt_roof_seconds(const EngineInfo& info, const MachineSpeeds& machine, uint32_t tokens,
                           uint32_t past) {
  const uint32_t chunk_most = std::max(info.step_tokens_max, 1u);
  double total = 0;
  for (uint32_t done = 0; done < tokens;) {
    const uint32_t chunk = std::min(tokens - done, chunk_most);
    const bool last = done + chunk == tokens;
    total += roof_seconds(info, machine,
                          {.tokens = static_cast<double>(chunk),
                           .past = static_cast<double>(past) + done,
                           .logit_rows = last ? 1.0 : 0.0});
    done += chunk;
  }
  return total;
}

double decode_roof_seconds(const EngineInfo& info, const MachineSpeeds& machine, uint32_t sequences,
                           double context) {
  return roof_seconds(info, machine,
                      {.sequences = static_cast<double>(sequences),
                       .past = std::max(context - 1, 0.0),
                       .logit_rows = static_cast<double>(sequences)});
}

double experts_touched(const MatrixWork& matrix, double tokens) {
  if (tokens <= 0) return 0;
  const double experts = matrix.experts;
  const double missed = 1 - matrix.experts_per_token / experts;  // by one token
  return experts * (1 - std::pow(missed, tokens));
}

}  // namespace hadal
