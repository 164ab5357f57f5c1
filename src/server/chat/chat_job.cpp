#include "server/chat/chat_job.h"

namespace hadal {

GenerationOptions ChatJob::generation(const SamplingOptions& defaults) const {
  GenerationOptions options;
  options.sampling = defaults;
  const auto put = [](float& value, const std::optional<double>& given) {
    if (given) value = static_cast<float>(*given);
  };
  put(options.sampling.temperature, temperature);
  put(options.sampling.top_p, top_p);
  put(options.sampling.min_p, min_p);
  put(options.sampling.repetition_penalty, repetition_penalty);
  put(options.sampling.presence_penalty, presence_penalty);
  put(options.sampling.frequency_penalty, frequency_penalty);
  if (top_k) options.sampling.top_k = *top_k;
  if (seed) options.sampling.seed = *seed;
  options.max_tokens = max_tokens;
  options.stop = stop;
  options.parse_thinking = parse_thinking;
  options.thinking_budget = thinking_budget;
  options.ignore_end = ignore_end;
  options.logit_bias = logit_bias;
  options.top_log_probabilities = top_logprobs;
  options.prompt_log_probabilities = scores_prompts();
  options.prompt_only = prompt_only;
  options.cache_salt = options.fairness_key = cache_salt;
  return options;
}

}  // namespace hadal
