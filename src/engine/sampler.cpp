#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>
#include <vector>

#include "base/check.h"
#include "engine/random.h"
#include "engine/softmax.h"

namespace hadal {

namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

// Logits are looked at in groups of this many, so that a search can skip a group by its maximum.
// The loops keep kLanes running values side by side: a fixed order of additions that is also the
// vector code's.
constexpr size_t kGroup = 64;
constexpr size_t kLanes = 16;
constexpr size_t kMaskBits = 32;  // in a word of a mask
static_assert(kGroup % kMaskBits == 0);

struct Candidate {
  float weight;  // e^((logit - maximum) / temperature)
  TokenId token;
};

// The order in which tokens are kept: likelier first, equal ones by their number.
bool before(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

// A weight as an integer: sums of these do not depend on the order of addition.
constexpr float kMassUnit = 0x1p40f;
uint64_t mass(const Candidate& candidate) {
  return static_cast<uint64_t>(candidate.weight * kMassUnit);
}

// Sign, exponent and three bits of the mantissa: a coarse view of a weight, in the same order.
constexpr int kClassShift = 20;
constexpr size_t kClasses = (std::bit_cast<uint32_t>(1.0f) >> kClassShift) + 1;
size_t weight_class(const Candidate& candidate) {
  return std::min<size_t>(std::bit_cast<uint32_t>(candidate.weight) >> kClassShift, kClasses - 1);
}

float maximum_of_group(const float* from) {
  float lanes[kLanes];
  std::copy_n(from, kLanes, lanes);
  for (size_t i = kLanes; i < kGroup; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = from[i + lane] > lanes[lane] ? from[i + lane] : lanes[lane];
    }
  }
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t lane = 0; lane < width; ++lane) {
      lanes[lane] = lanes[lane + width] > lanes[lane] ? lanes[lane + width] : lanes[lane];
    }
  }
  return lanes[0];
}

}  // namespace

struct Sampler::State {
  SamplingOptions options;
  uint32_t vocabulary = 0;
  size_t groups = 0;
  bool penalizes = false;
  std::vector<LogitBias> logit_bias;
  float inverse_temperature = 1;
  uint32_t answer_tokens = 0;

  std::vector<float> values;      // [groups * kGroup] logits after penalties, then weights
  std::vector<float> group_max;   // [groups]
  std::vector<float> group_sum;   // [groups] of weights
  std::vector<float> group_work;  // [groups]
  std::vector<Candidate> candidates, selection;

  // For penalties: how often a token was in the answer, and whether it was seen at all.
  std::vector<uint32_t> occurrences;
  std::vector<bool> seen;
  std::vector<TokenId> seen_tokens;  // each once, in the order of first sight

  void see(TokenId token);
  void read_logits(std::span<const float> logits);
  void forbid(std::span<const uint32_t> allowed);
  void apply_bias();
  void apply_penalties();
  float find_maximum();
  TokenId first_of_value(float value) const;
  float weight_of(float logit, float maximum) const;
  double make_weights(float maximum);
  void collect(float least);
  void keep_top_k(float maximum);
  void keep_top_p(double total);
  template <typename Measure>
  void keep_likeliest(uint64_t wanted, Measure measure);
  TokenId draw_from_all(double total) const;
  TokenId draw_from_candidates() const;
  double draw() const { return random_unit(options.seed, answer_tokens); }
};

Sampler::Sampler(const SamplingOptions& options, uint32_t vocabulary,
                 std::vector<LogitBias> logit_bias)
    : state_(std::make_unique<State>()) {
  CHECK(vocabulary > 0);
  State& s = *state_;
  s.options = options;
  s.vocabulary = vocabulary;
  s.logit_bias = std::move(logit_bias);
  s.groups = (vocabulary + kGroup - 1) / kGroup;
  s.penalizes = options.repetition_penalty != 1.0f || options.presence_penalty != 0.0f ||
                options.frequency_penalty != 0.0f;
  s.values.assign(s.groups * kGroup, kLowest);
  s.group_max.resize(s.groups);
  if (options.temperature > 0) {
    s.inverse_temperature = std::min(1.0f / options.temperature, kLargest);
    s.group_sum.resize(s.groups);
    s.group_work.resize(s.groups);
    s.candidates.reserve(vocabulary);
    s.selection.reserve(vocabulary);
  }
  if (s.penalizes) {
    s.occurrences.resize(vocabulary);
    s.seen.resize(vocabulary);
    s.seen_tokens.reserve(vocabulary);
  }
}

Sampler::~Sampler() = default;

void Sampler::add_prompt(std::span<const TokenId> tokens) {
  if (!state_->penalizes) return;
  for (const TokenId token : tokens) state_->see(token);
}

void Sampler::add(TokenId token) {
  State& s = *state_;
  ++s.answer_tokens;
  if (!s.penalizes) return;
  s.see(token);
  ++s.occurrences[static_cast<size_t>(token)];
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const uint32_t> allowed) {
  State& s = *state_;
  CHECK(logits.size() == s.vocabulary);
  s.read_logits(logits);
  if (!allowed.empty()) s.forbid(allowed);
  if (!s.logit_bias.empty()) s.apply_bias();
  if (s.penalizes) s.apply_penalties();
  const float maximum = s.find_maximum();
  if (maximum == kLowest) return kNoToken;
  if (s.options.temperature <= 0 || s.options.top_k == 1) return s.first_of_value(maximum);

  if (s.options.top_k > 0 && s.options.top_k < s.vocabulary) {
    s.keep_top_k(maximum);
    if (s.options.top_p < 1) s.keep_top_p(0);
  } else {
    const double total = s.make_weights(maximum);
    if (s.options.top_p >= 1 && s.options.min_p <= 0) return s.draw_from_all(total);
    if (s.options.top_p < 1) {
      s.keep_top_p(total);
    } else {
      s.collect(s.options.min_p);
    }
  }
  if (s.options.min_p > 0) {
    std::erase_if(s.candidates, [&](const Candidate& c) { return c.weight < s.options.min_p; });
  }
  return s.draw_from_candidates();
}

void Sampler::State::see(TokenId token) {
  CHECK(token >= 0 && static_cast<uint32_t>(token) < vocabulary);
  const auto index = static_cast<size_t>(token);
  if (seen[index]) return;
  seen[index] = true;
  seen_tokens.push_back(token);
}

// What is not a number can never win, and infinity is the largest number there is, so that
// differences stay defined.
void Sampler::State::read_logits(std::span<const float> logits) {
  for (size_t i = 0; i < logits.size(); ++i) {
    const float number = logits[i] >= kLowest ? logits[i] : kLowest;
    values[i] = number <= kLargest ? number : kLargest;
  }
  std::fill(values.begin() + static_cast<ptrdiff_t>(logits.size()), values.end(), kLowest);
}

void Sampler::State::forbid(std::span<const uint32_t> allowed) {
  CHECK(allowed.size() == (size_t{vocabulary} + kMaskBits - 1) / kMaskBits);
  for (size_t word = 0; word < allowed.size(); ++word) {
    const uint32_t bits = allowed[word];
    if (bits == UINT32_MAX) continue;
    float* at = values.data() + word * kMaskBits;  // a group holds whole words
    for (size_t bit = 0; bit < kMaskBits; ++bit) at[bit] = (bits >> bit) & 1 ? at[bit] : kLowest;
  }
}

void Sampler::State::apply_bias() {
  for (const auto& [token, bias] : logit_bias) {
    float& value = values[static_cast<size_t>(token)];
    if (value != kLowest) value = std::clamp(value + bias, -kLargest, kLargest);
  }
}

void Sampler::State::apply_penalties() {
  for (const TokenId token : seen_tokens) {
    const auto index = static_cast<size_t>(token);
    float& value = values[index];
    if (value == kLowest) continue;
    value = value > 0 ? value / options.repetition_penalty : value * options.repetition_penalty;
    if (occurrences[index] > 0) {
      value -= options.presence_penalty;
      value -= options.frequency_penalty * static_cast<float>(occurrences[index]);
    }
    value = std::clamp(value, -kLargest, kLargest);
  }
}

float Sampler::State::find_maximum() {
  float maximum = kLowest;
  for (size_t group = 0; group < groups; ++group) {
    group_max[group] = maximum_of_group(values.data() + group * kGroup);
    maximum = group_max[group] > maximum ? group_max[group] : maximum;
  }
  return maximum;
}

TokenId Sampler::State::first_of_value(float value) const {
  for (size_t group = 0;; ++group) {
    if (group_max[group] != value) continue;
    size_t i = group * kGroup;
    while (values[i] != value) ++i;
    return static_cast<TokenId>(i);
  }
}

float Sampler::State::weight_of(float logit, float maximum) const {
  return exp_nonpositive((logit - maximum) * inverse_temperature);
}

// Turns `values` into weights, relative to the likeliest token's 1; returns their sum.
double Sampler::State::make_weights(float maximum) {
  double total = 0;
  for (size_t group = 0; group < groups; ++group) {
    float* at = values.data() + group * kGroup;
    float lanes[kLanes] = {};
    for (size_t i = 0; i < kGroup; ++i) at[i] = weight_of(at[i], maximum);
    for (size_t i = 0; i < kGroup; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += at[i + lane];
    }
    for (size_t width = kLanes / 2; width > 0; width /= 2) {
      for (size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
    }
    group_sum[group] = lanes[0];
    group_max[group] = maximum_of_group(at);
    total += group_sum[group];
  }
  return total;
}

// The tokens whose value is at least this become the candidates, in the order of their numbers.
void Sampler::State::collect(float least) {
  candidates.clear();
  for (size_t group = 0; group < groups; ++group) {
    if (group_max[group] < least) continue;
    for (size_t i = group * kGroup; i < (group + 1) * kGroup; ++i) {
      if (values[i] >= least) candidates.push_back({values[i], static_cast<TokenId>(i)});
    }
  }
}

void Sampler::State::keep_top_k(float maximum) {
  const size_t k = options.top_k;
  // Each of the k groups with the largest maxima holds a logit of at least the k-th of those
  // maxima, so nothing below that is among the k largest: one look at the maxima leaves few.
  float least = -kLargest;
  if (k < groups) {
    group_work = group_max;
    const auto kth = group_work.begin() + static_cast<ptrdiff_t>(k) - 1;
    std::nth_element(group_work.begin(), kth, group_work.end(), std::greater<>());
    least = std::max(least, *kth);
  }
  collect(least);
  for (Candidate& c : candidates) c.weight = weight_of(c.weight, maximum);
  keep_likeliest(k, [](const Candidate&) { return uint64_t{1}; });
}

// Keeps the fewest likeliest tokens whose share is at least top_p: of `total`, the sum of all
// weights, or of the candidates' own sum where these are chosen already (total 0).
void Sampler::State::keep_top_p(double total) {
  uint64_t wanted = 0;
  if (total > 0) {
    // All tokens lighter than this together weigh less than what may be left out.
    const double least = (1.0 - double{options.top_p}) * total / vocabulary;
    collect(std::max(static_cast<float>(least), std::numeric_limits<float>::min()));
    wanted = static_cast<uint64_t>(total * double{options.top_p} * kMassUnit);
  } else {
    uint64_t sum = 0;
    for (const Candidate& candidate : candidates) sum += mass(candidate);
    wanted = static_cast<uint64_t>(static_cast<double>(sum) * double{options.top_p});
  }
  keep_likeliest(std::max<uint64_t>(wanted, 1), mass);
}

// Keeps the fewest likeliest candidates whose measure adds up to `wanted`; all, if it never does.
template <typename Measure>
void Sampler::State::keep_likeliest(uint64_t wanted, Measure measure) {
  // By the leading bits of their weights, which order them: the class in which the sum is reached.
  std::array<uint64_t, kClasses> classes{};
  for (const Candidate& c : candidates) classes[weight_class(c)] += measure(c);
  uint64_t sum = 0;
  size_t border = kClasses;
  while (border > 0 && sum < wanted) sum += classes[--border];
  if (sum < wanted || border == kClasses) return;
  sum -= classes[border];

  // Within it by halves: put the likelier half in front, see whether it suffices, go on there.
  selection.clear();
  for (const Candidate& c : candidates) {
    if (weight_class(c) == border) selection.push_back(c);
  }
  auto first = selection.begin(), end = selection.end();
  while (end - first > 1) {
    const auto middle = first + (end - first) / 2;
    std::nth_element(first, middle, end, before);
    uint64_t half = 0;
    for (auto c = first; c != middle; ++c) half += measure(*c);
    if (sum + half >= wanted) {
      end = middle;
    } else {
      sum += half;
      first = middle;
    }
  }
  const Candidate last = *first;
  std::erase_if(candidates, [&](const Candidate& c) { return before(last, c); });
}

TokenId Sampler::State::draw_from_all(double total) const {
  const double target = draw() * total;
  double sum = 0;
  TokenId last = 0;  // of those passed that can be chosen: rounding may carry past the end
  for (size_t group = 0; group < groups; ++group) {
    if (group_sum[group] == 0) continue;
    const bool here = sum + group_sum[group] > target;
    double within = sum;
    for (size_t i = group * kGroup; here && i < (group + 1) * kGroup; ++i) {
      if (values[i] == 0) continue;
      within += values[i];
      last = static_cast<TokenId>(i);
      if (within > target) return last;
    }
    if (here) return last;
    sum += group_sum[group];
  }
  for (size_t i = values.size(); i-- > 0;) {
    if (values[i] > 0) return static_cast<TokenId>(i);
  }
  return last;
}

TokenId Sampler::State::draw_from_candidates() const {
  double total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  const double target = draw() * total;
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    sum += candidate.weight;
    if (sum > target) return candidate.token;
  }
  return candidates.back().token;
}

Status Sampler::check_bias(std::span<const LogitBias> logit_bias, uint32_t vocabulary) {
  if (logit_bias.size() > kBiasesMost) {
    return fail("logit_bias names {} tokens; it may name at most {}", logit_bias.size(),
                size_t{kBiasesMost});
  }
  for (const auto& [token, bias] : logit_bias) {
    if (token < 0 || static_cast<uint32_t>(token) >= vocabulary) {
      return fail("logit_bias names a token {}, but the model's vocabulary has {} tokens", token,
                  vocabulary);
    }
    if (!(bias >= -kBiasLargest && bias <= kBiasLargest)) {
      return fail("logit_bias of token {} is {}; it must be from {} to {}", token, bias,
                  -kBiasLargest, float{kBiasLargest});
    }
  }
  return {};
}

Status SamplingOptions::validate() const {
  const auto check = [](const char* name, float value, bool good, const char* range) -> Status {
    if (good) return {};
    return fail("{} is {}; it must be {}", name, value, range);
  };
  HADAL_TRY_VOID(check("temperature", temperature, temperature >= 0 && temperature <= 100,
                       "from 0 (greedy) to 100"));
  HADAL_TRY_VOID(check("top_p", top_p, top_p > 0 && top_p <= 1, "above 0 and at most 1"));
  HADAL_TRY_VOID(check("min_p", min_p, min_p >= 0 && min_p < 1, "from 0 to below 1"));
  HADAL_TRY_VOID(check("repetition_penalty", repetition_penalty,
                       repetition_penalty > 0 && repetition_penalty <= 100,
                       "above 0 and at most 100"));
  HADAL_TRY_VOID(check("presence_penalty", presence_penalty,
                       presence_penalty >= -2 && presence_penalty <= 2, "from -2 to 2"));
  return check("frequency_penalty", frequency_penalty,
               frequency_penalty >= -2 && frequency_penalty <= 2, "from -2 to 2");
}

}  // namespace hadal
