#include "engine/sampling_defaults.h"

#include <string>

namespace hadal {

namespace {

// Takes a stated value into options.*member if the options stay valid with it.
template <typename Value>
void take(const Metadata& metadata, std::string_view key, Value SamplingOptions::*member,
          SamplingOptions& options) {
  const Result<double> stated = metadata.number(key);
  if (!stated || !(*stated >= 0 && *stated <= UINT32_MAX)) return;
  SamplingOptions changed = options;
  changed.*member = static_cast<Value>(*stated);
  if (changed.validate()) options = changed;
}

}  // namespace

SamplingOptions sampling_defaults(const Metadata& metadata) {
  SamplingOptions options;
  if (metadata.dialect() == Dialect::kGguf) {
    take(metadata, "general.sampling.temp", &SamplingOptions::temperature, options);
    take(metadata, "general.sampling.top_k", &SamplingOptions::top_k, options);
    take(metadata, "general.sampling.top_p", &SamplingOptions::top_p, options);
    take(metadata, "general.sampling.min_p", &SamplingOptions::min_p, options);
    take(metadata, "general.sampling.penalty_repeat", &SamplingOptions::repetition_penalty,
         options);
    return options;
  }
  const Result<bool> samples = metadata.boolean("generation.do_sample");
  if (samples && !*samples) options.temperature = 0;
  take(metadata, "generation.temperature", &SamplingOptions::temperature, options);
  take(metadata, "generation.top_k", &SamplingOptions::top_k, options);
  take(metadata, "generation.top_p", &SamplingOptions::top_p, options);
  take(metadata, "generation.min_p", &SamplingOptions::min_p, options);
  take(metadata, "generation.repetition_penalty", &SamplingOptions::repetition_penalty, options);
  return options;
}

std::vector<TokenId> generation_end_tokens(const Metadata& metadata) {
  constexpr std::string_view kKey = "generation.eos_token_id";
  std::vector<TokenId> tokens;
  if (const auto one = metadata.unsigned_integer(kKey, INT32_MAX)) {
    tokens.push_back(static_cast<TokenId>(*one));
  } else if (const auto several = metadata.integers(kKey)) {
    for (const int64_t token : *several) {
      if (token >= 0 && token <= INT32_MAX) tokens.push_back(static_cast<TokenId>(token));
    }
  }
  return tokens;
}

}  // namespace hadal
