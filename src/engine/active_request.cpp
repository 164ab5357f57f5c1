#include "engine/active_request.h"

#include <algorithm>
#include <cmath>
#include <new>

namespace hadal {

namespace {

constexpr uint32_t kForcedTokensUsual = 16;  // room for a decision's tokens without allocation
constexpr std::string_view kNoNumber =
    "the model's output has no number in it; its file may be damaged";

}  // namespace

ActiveRequest::ActiveRequest(Request&& given, const Terms& terms)
    : id(terms.id),
      vocabulary(terms.vocabulary),
      prompt(std::move(given.prompt)),
      end_tokens(std::move(given.end_tokens)),
      sink(std::move(given.sink)),
      sampler(given.sampling, terms.vocabulary, std::move(given.logit_bias)),
      max_tokens(given.max_tokens == 0 ? UINT32_MAX : given.max_tokens),
      room(terms.context_tokens - static_cast<uint32_t>(prompt.size())),
      cache_salt(given.cache_salt),
      fairness_key(given.fairness_key),
      wants_prompt_logits(given.prompt_log_probabilities),
      prompt_only(given.prompt_only),
      submitted(terms.now) {
  usage.prompt_tokens = static_cast<uint32_t>(prompt.size());
  if (given.embedding) {
    pool.emplace(terms.hidden_width);
    return;
  }
  if (given.top_log_probabilities) report.emplace(*given.top_log_probabilities);
  if (given.mask) mask.emplace(std::move(given.mask), end_tokens, vocabulary);
  sampler.add_prompt(prompt);
  next.reserve(1 + kDraftTokensMax + kForcedTokensUsual);
  if (terms.predictor != nullptr) {
    auto own = std::make_unique<PredictionDrafter>(*terms.predictor);
    prediction = own.get();
    drafter = std::move(own);
  } else if (terms.speculation != Speculation::kOff) {
    drafter = std::make_unique<NgramDrafter>(usage.prompt_tokens + std::min(max_tokens, room));
  }
}

void ActiveRequest::decide(std::span<const float> logits, std::span<const TokenId> drafts,
                           double time, Continuation& next_tokens) {
  next.clear();
  next_tokens.finished = reason == FinishReason::kFailed || pool || prompt_only;
  if (reason == FinishReason::kFailed) return;
  if (pool) return give_embedding();
  if (prompt_only) return end_prompt(logits, time);
  const uint32_t answer_before = usage.answer_tokens;
  const uint32_t accepted_before = usage.accepted_tokens;
  try {
    take_rows(logits, drafts, time, next_tokens);
  } catch (const std::bad_alloc&) {
    fail_with("there is not enough memory for this request's answer");
    next_tokens.finished = true;
  }
  next_tokens.tokens = std::span(next).first(usage.answer_tokens - answer_before);
  if (drafts.empty()) return;
  const auto drafted = static_cast<uint32_t>(drafts.size());
  const uint32_t accepted = usage.accepted_tokens - accepted_before;
  usage.drafted_tokens += drafted;
  acceptance.tried(draft_grade, drafted, accepted);
}

// One row's token after another, as long as each is what was guessed: then the next row's logits
// are those that the next step would have given.
void ActiveRequest::take_rows(std::span<const float> logits, std::span<const TokenId> drafts,
                              double time, Continuation& next_tokens) {
  for (size_t row = 0; row <= drafts.size(); ++row) {
    const auto of_row = logits.subspan(row * vocabulary, vocabulary);
    if (usage.answer_tokens == 0) {
      first_token = time;
      usage.prompt_seconds = time - submitted;
    }
    usage.decode_seconds = time - first_token;
    const TokenId token = draw(of_row, next_tokens);
    if (next_tokens.finished) return;
    const bool guessed = row < drafts.size() && token == drafts[row];
    usage.accepted_tokens += guessed;
    next.push_back(token);
    take_tokens(row, of_row, next_tokens);
    if (next_tokens.finished || !guessed || next.size() > row + 1) return;
  }
}

// The token that the logits give; or the answer's end without one.
TokenId ActiveRequest::draw(std::span<const float> logits, Continuation& next_tokens) {
  const AnswerMask::Next may_come = mask ? mask->look() : AnswerMask::Next::kToken;
  next_tokens.finished = may_come != AnswerMask::Next::kToken;
  if (may_come == AnswerMask::Next::kEnd) reason = FinishReason::kEndToken;
  if (may_come == AnswerMask::Next::kNothing) {
    fail_with("no token of the vocabulary can go on with the form that the answer must have");
  }
  if (next_tokens.finished) return Sampler::kNoToken;
  const TokenId token =
      sampler.sample(logits, mask ? mask->allowed() : std::span<const uint32_t>());
  if (token != Sampler::kNoToken) return token;
  fail_with(kNoNumber);
  next_tokens.finished = true;
  return token;
}

// The tokens of `next` from `first` on, the drawn one and what the sink forces behind it, one by
// one to the sink. logits: that the first was drawn from.
void ActiveRequest::take_tokens(size_t first, std::span<const float> logits,
                                Continuation& next_tokens) {
  const auto end_with = [&](FinishReason why) {
    reason = why;
    next_tokens.finished = true;
  };
  for (size_t i = first; i < next.size(); ++i) {
    const TokenId token = next[i];
    ++usage.answer_tokens;
    if (std::ranges::find(end_tokens, token) != end_tokens.end()) {
      return end_with(FinishReason::kEndToken);
    }
    sampler.add(token);
    if (mask) mask->accept(token);
    if (report && i == first) {
      sink->on_log_probabilities(report->of(logits, token));
    }
    const TokenDecision decision = sink->on_token(token);
    if (decision.stop) return end_with(FinishReason::kStopped);
    if (usage.answer_tokens >= max_tokens) {
      return end_with(FinishReason::kMaxTokens);
    }
    if (usage.answer_tokens >= room) return end_with(FinishReason::kContextFull);
    for (const TokenId forced : decision.force) {
      if (forced < 0 || static_cast<uint32_t>(forced) >= vocabulary) {
        fail_with(fmt::format("a forced token {} is not in the model's vocabulary of {} tokens",
                              forced, vocabulary));
        next_tokens.finished = true;
        return;
      }
      next.push_back(forced);
    }
  }
}

bool ActiveRequest::tell_prompt(std::span<const float> logits, TokenId token) {
  if (reason == FinishReason::kFailed) return false;
  try {
    sink->on_prompt_log_probabilities(report->of(logits, token));
  } catch (const std::bad_alloc&) {
    fail_with("there is not enough memory for the log probabilities of this request's prompt");
    return false;
  }
  return true;
}

void ActiveRequest::end_prompt(std::span<const float> logits, double time) {
  usage.prompt_seconds = time - submitted;
  reason = FinishReason::kMaxTokens;
  const auto is_number = [](float logit) { return std::isfinite(logit); };
  if (std::ranges::none_of(logits, is_number)) fail_with(kNoNumber);
}

void ActiveRequest::give_embedding() {
  const auto mean = pool->mean();
  if (!std::ranges::all_of(mean, [](float value) { return std::isfinite(value); })) {
    return fail_with(kNoNumber);
  }
  reason = FinishReason::kEndToken;
  try {
    sink->on_embedding(mean);
  } catch (const std::bad_alloc&) {
    fail_with("there is not enough memory for this request's embedding");
  }
}

void ActiveRequest::fail_with(std::string_view message) {
  reason = FinishReason::kFailed;
  try {
    error = message;
  } catch (const std::bad_alloc&) {
    error = "out of memory";  // so short that it needs none
  }
}

}  // namespace hadal
