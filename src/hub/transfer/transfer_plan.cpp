#include "hub/transfer/transfer_plan.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace hadal {

TransferPlan::TransferPlan(uint64_t file_bytes, uint32_t sources, ByteRanges done,
                           TransferRules rules, double now)
    : file_bytes_(file_bytes),
      rules_(rules),
      done_(std::move(done)),
      sources_(sources),
      begin_(now) {}

std::optional<TransferPlan::Lease> TransferPlan::next_lease(double now) {
  if (complete()) return std::nullopt;
  // A source that is tried out gets a connection beyond the limit: all others may be slow for long.
  auto source = source_to_try(now);
  if (!source && active_.size() < rules_.connections_max) source = choose_source(now);
  if (!source) return std::nullopt;
  const auto range = choose_range(*source, now);
  if (!range) return std::nullopt;
  const uint32_t id = next_id_++;
  active_.push_back({id, *source, *range, range->begin, now, now});
  ++sources_[*source].connections;
  sources_[*source].tried = true;
  return Lease{id, *source, *range};
}

uint64_t TransferPlan::received(uint32_t lease, uint64_t bytes, double now) {
  Active* active = find(lease);
  if (active == nullptr) return 0;
  const uint64_t wanted = std::min(bytes, active->range.end - active->at);
  done_.add({active->at, active->at + wanted});
  active->at += wanted;
  active->last_byte = now;
  Source& source = sources_[active->source];
  source.bytes += wanted;
  if (wanted > 0) source.failures = 0;
  return wanted;
}

bool TransferPlan::at_end(uint32_t lease) const {
  const Active* active = find(lease);
  return active == nullptr || active->at == active->range.end;
}

void TransferPlan::finished(uint32_t lease, double now) {
  remove(lease, now);
}

void TransferPlan::failed(uint32_t lease, TransferFailure failure, double now,
                          double retry_after_s) {
  const Active* active = find(lease);
  if (active == nullptr) return;
  Source& source = sources_[active->source];
  // When the network goes, all connections break: that is one failure, not four.
  const bool counts = active->began >= source.failed_at;
  if (counts && failure <= TransferFailure::kBusy) {
    ++source.failures;
    source.failed_at = now;
  }
  switch (failure) {
    case TransferFailure::kBroken: {
      const double backoff =
          rules_.backoff_first_s * std::pow(2.0, std::min(source.failures, 16u) - 1.0);
      if (counts) source.not_before = now + std::min(backoff, rules_.backoff_max_s);
      if (source.failures >= rules_.failures_max) source.out = true;
      break;
    }
    case TransferFailure::kBusy:
      source.not_before =
          std::max(source.not_before, now + std::max(retry_after_s, rules_.backoff_first_s));
      if (retry_after_s > rules_.retry_after_max_s || source.failures >= rules_.failures_max)
        source.out = true;
      break;
    case TransferFailure::kWholeOnly:
      source.whole_only = true;
      break;
    case TransferFailure::kRefused:
      source.out = true;
      break;
  }
  remove(lease, now);
}

std::vector<TransferPlan::Cut> TransferPlan::cuts(double now) const {
  std::vector<Cut> cuts;
  for (const Active& active : active_) {
    if (now - active.last_byte >= rules_.stall_s) {
      cuts.push_back({active.id, true});
      continue;
    }
    // A lease of a slow source ends early where another source has shown that it is faster and the
    // slow one would still need long.
    const double own = speed(active.source, now);
    if (own == 0 || own >= rules_.slow_bytes_per_s) continue;
    if (static_cast<double>(active.range.end - active.at) / own < rules_.probe_after_s) continue;
    for (uint32_t other = 0; other < sources_.size(); ++other) {
      if (other == active.source || !usable(other, now) || sources_[other].whole_only) continue;
      if (speed(other, now) > own * rules_.switch_factor) {
        cuts.push_back({active.id, false});
        break;
      }
    }
  }
  return cuts;
}

bool TransferPlan::hopeless() const {
  return !complete() && active_.empty() &&
         std::all_of(sources_.begin(), sources_.end(),
                     [](const Source& source) { return source.out; });
}

std::optional<double> TransferPlan::wake_time(double now) const {
  std::optional<double> wake;
  const auto at = [&](double time) {
    if (time > now && (!wake || time < *wake)) wake = time;
  };
  for (const Active& active : active_) at(active.last_byte + rules_.stall_s);
  for (const Source& source : sources_) {
    if (!source.out) at(source.not_before);
  }
  if (sources_.size() > 1) at(begin_ + rules_.probe_after_s);
  return wake;
}

TransferPlan::Active* TransferPlan::find(uint32_t lease) {
  const auto found =
      std::find_if(active_.begin(), active_.end(), [&](const Active& a) { return a.id == lease; });
  return found == active_.end() ? nullptr : &*found;
}

const TransferPlan::Active* TransferPlan::find(uint32_t lease) const {
  return const_cast<TransferPlan*>(this)->find(lease);
}

bool TransferPlan::usable(uint32_t index, double now) const {
  const Source& source = sources_[index];
  // After a failure one connection alone tries whether the source is back.
  const bool waits = source.failures > 0 && source.connections > 0;
  return !source.out && source.not_before <= now && !waits;
}

double TransferPlan::speed(uint32_t index, double now) const {
  // What a connection brings in a second, over the ended and the open ones; an open one counts from
  // its first second on.
  constexpr double kTooShort_s = 1;
  const Source& source = sources_[index];
  double seconds = source.busy_s;
  uint64_t bytes = source.ended_bytes;
  for (const Active& active : active_) {
    if (active.source != index || now - active.began < kTooShort_s) continue;
    seconds += now - active.began;
    bytes += active.at - active.range.begin;
  }
  return seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
}

std::optional<uint32_t> TransferPlan::choose_source(double now) const {
  // The fastest that is known, with the order as given where none is slow.
  std::optional<uint32_t> best;
  for (uint32_t i = 0; i < sources_.size(); ++i) {
    if (!usable(i, now)) continue;
    // Servers that send only whole files come last: they cannot go on where they stopped.
    if (!best || (sources_[*best].whole_only && !sources_[i].whole_only) ||
        (sources_[*best].whole_only == sources_[i].whole_only &&
         speed(i, now) > speed(*best, now) * rules_.switch_factor && speed(*best, now) > 0)) {
      best = i;
    }
  }
  if (!best) return std::nullopt;
  return best;
}

std::optional<uint32_t> TransferPlan::source_to_try(double now) const {
  if (now - begin_ < rules_.probe_after_s || active_.empty()) return std::nullopt;
  double total = 0;
  for (uint32_t i = 0; i < sources_.size(); ++i) total += speed(i, now) * sources_[i].connections;
  if (total >= rules_.slow_bytes_per_s) return std::nullopt;
  for (uint32_t i = 0; i < sources_.size(); ++i) {
    if (usable(i, now) && !sources_[i].tried && !sources_[i].whole_only) return i;
  }
  return std::nullopt;
}

std::optional<ByteRange> TransferPlan::choose_range(uint32_t source, double now) {
  if (sources_[source].whole_only) {
    if (!active_.empty()) return std::nullopt;  // it would fetch what the others fetch
    return ByteRange{0, file_bytes_};
  }
  ByteRanges taken = done_;
  for (const Active& active : active_) taken.add(active.range);
  ByteRange gap = taken.first_gap({0, file_bytes_});
  if (gap.size() > 0) {
    gap.end = std::min(gap.end, gap.begin + rules_.piece_bytes);
    return gap;
  }
  // All is leased: the largest rest is halved. Its connection learns of it by received().
  Active* largest = nullptr;
  for (Active& active : active_) {
    if (sources_[active.source].whole_only) continue;
    if (largest == nullptr || active.range.end - active.at > largest->range.end - largest->at)
      largest = &active;
  }
  if (largest == nullptr) return std::nullopt;
  const uint64_t rest = largest->range.end - largest->at;
  // Worth a new connection: many bytes that take longer than a moment, or few that take for ever.
  constexpr uint64_t kFewBytesMin = 64 << 10;
  const double pace = speed(largest->source, now);
  const double rest_s = pace > 0 ? static_cast<double>(rest) / pace : 0;
  const bool many = rest >= 2 * rules_.split_bytes_min && (pace == 0 || rest_s >= 1);
  const bool slow = rest >= 2 * kFewBytesMin && rest_s > 2 * rules_.probe_after_s;
  if (!many && !slow) return std::nullopt;
  const ByteRange half{largest->at + rest / 2, largest->range.end};
  largest->range.end = half.begin;
  return half;
}

void TransferPlan::remove(uint32_t lease, double now) {
  const auto found =
      std::find_if(active_.begin(), active_.end(), [&](const Active& a) { return a.id == lease; });
  if (found == active_.end()) return;
  Source& source = sources_[found->source];
  source.busy_s += now - found->began;
  source.ended_bytes += found->at - found->range.begin;
  CHECK(source.connections > 0);
  --source.connections;
  active_.erase(found);
}

}  // namespace hadal
