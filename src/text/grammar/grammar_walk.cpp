#include "text/grammar/grammar_walk.h"

#include <algorithm>
#include <utility>

namespace hadal {

size_t GrammarWalk::PlaceHash::operator()(const PlaceData& place) const {
  uint64_t hash = place.may_end ? 0x9E3779B97F4A7C15 : 0xD1B54A32D192ED03;
  const auto mix = [&hash](uint64_t value) {
    hash = (hash ^ value) * 0xD6E8FEB86659FD93;
    hash ^= hash >> 32;
  };
  for (const Thread& thread : place.threads) {
    mix(uint64_t{thread.call} << 32 | thread.state);
    mix(thread.count);
  }
  return hash;
}

GrammarWalk::GrammarWalk(const Automaton& automaton) : automaton_(automaton) {
  clear();
}

void GrammarWalk::clear() {
  calls_.assign(1, {0, 0, 0});
  call_numbers_.clear();
  places_.clear();
  place_numbers_.clear();
  rows_.clear();
  threads_in_all_ = 0;
  number_of({});  // kDead
  std::fill(rows_.begin(), rows_.end(), kDead);
}

GrammarWalk::Place GrammarWalk::start() {
  PlaceData place;
  add(place, {0, automaton_.start(0), 0});
  return number_of(std::move(place));
}

GrammarWalk::Place GrammarWalk::number_of(PlaceData place) {
  std::sort(place.threads.begin(), place.threads.end());
  const auto [known, is_new] =
      place_numbers_.try_emplace(place, static_cast<Place>(places_.size()));
  if (is_new) {
    threads_in_all_ += place.threads.size() + 1;
    places_.push_back(std::move(place));
    rows_.resize(places_.size() * 256, kUnknown);
  }
  return known->second;
}

uint32_t GrammarWalk::open(uint32_t around, uint32_t return_to) {
  const auto [known, is_new] = call_numbers_.try_emplace(uint64_t{around} << 32 | return_to,
                                                         static_cast<uint32_t>(calls_.size()));
  if (is_new) {
    calls_.push_back({around, return_to, calls_[around].depth + 1});
    ++threads_in_all_;
  }
  return known->second;
}

// All that a thread may do before the next byte: return, call. A thread that could not come to its
// end within the depth is not begun, so that what is allowed can always be finished.
void GrammarWalk::add(PlaceData& to, Thread first) {
  pending_.assign(1, first);
  visited_.clear();
  while (!pending_.empty()) {
    const Thread thread = pending_.back();
    pending_.pop_back();
    const Automaton::State& state = automaton_.state(thread.state);
    if (calls_[thread.call].depth + state.height > Automaton::kDepthMax) continue;
    if (std::find(visited_.begin(), visited_.end(), thread) != visited_.end()) continue;
    visited_.push_back(thread);
    if (state.edges_begin < state.edges_end && to.threads.size() < kThreadsMax &&
        std::find(to.threads.begin(), to.threads.end(), thread) == to.threads.end()) {
      to.threads.push_back(thread);
    }
    if (state.is_final && thread.call == 0) to.may_end = true;
    if (state.is_final && thread.call != 0) {
      const Call& call = calls_[thread.call];
      pending_.push_back({call.around, call.return_to, 0});
    }
    for (const CallEdge& edge : automaton_.calls(state)) {
      const Automaton::State& behind = automaton_.state(edge.to);
      if (calls_[thread.call].depth + behind.height > Automaton::kDepthMax) continue;
      // Where there is nothing behind the call but the end, the caller's caller is returned to.
      const bool is_last = behind.is_final && behind.edges_begin == behind.edges_end &&
                           behind.calls_begin == behind.calls_end;
      const uint32_t call = is_last ? thread.call : open(thread.call, edge.to);
      pending_.push_back({call, automaton_.start(edge.rule), 0});
    }
  }
}

GrammarWalk::Place GrammarWalk::find_next(Place place, uint8_t byte) {
  // All bytes from first to last lead to the same place.
  uint8_t first = 0, last = 255;
  PlaceData next;
  for (size_t i = 0; i < places_[place].threads.size(); ++i) {
    Thread thread = places_[place].threads[i];
    const Automaton::State& state = automaton_.state(thread.state);
    const auto edges = automaton_.edges(state);
    const auto edge = std::lower_bound(
        edges.begin(), edges.end(), byte,
        [](const ByteEdge& candidate, uint8_t wanted) { return candidate.last < wanted; });
    if (edge != edges.begin()) first = std::max<uint8_t>(first, std::prev(edge)->last + 1);
    if (edge == edges.end()) continue;
    if (edge->first > byte) {
      last = std::min<uint8_t>(last, edge->first - 1);
      continue;
    }
    first = std::max(first, edge->first);
    last = std::min(last, edge->last);
    if (state.counts()) {
      if (byte == '"') {
        if (thread.count < state.count_min) continue;
        thread.count = 0;
      } else {
        if (thread.count >= state.count_max) continue;
        // Without an upper end all counts from the lower one on are alike.
        const bool is_bounded = state.count_max != Automaton::kUnbounded;
        if (is_bounded || thread.count < state.count_min) ++thread.count;
      }
    }
    thread.state = edge->to;
    add(next, thread);
  }
  const Place found = number_of(std::move(next));
  const auto row = rows_.begin() + static_cast<ptrdiff_t>(size_t{place} * 256);
  std::fill(row + first, row + last + 1, found);
  return found;
}

uint32_t GrammarWalk::characters_left(Place place) const {
  if (places_[place].threads.size() != 1) return kUncounted;
  const Thread& thread = places_[place].threads[0];
  const Automaton::State& state = automaton_.state(thread.state);
  if (!state.counts()) return kUncounted;
  return state.count_max == Automaton::kUnbounded ? kUncounted - 1 : state.count_max - thread.count;
}

GrammarWalk::Place GrammarWalk::alike(Place place, uint32_t characters) {
  const uint32_t left = characters_left(place);
  if (left == kUncounted || left < characters) return place;
  const Thread& thread = places_[place].threads[0];
  const Automaton::State& state = automaton_.state(thread.state);
  uint32_t count = thread.count;
  if (count >= state.count_min) {
    count = state.count_min;
  } else if (state.count_min - count > characters) {
    count = 0;
  }
  if (count == thread.count) return place;
  PlaceData other = places_[place];
  other.threads[0].count = count;
  return number_of(std::move(other));
}

void GrammarWalk::forget(std::span<Place*> kept) {
  struct Kept {
    PlaceData data;
    std::vector<std::vector<uint32_t>> calls;  // of each thread, the outermost first
  };
  std::vector<Kept> all;
  for (const Place* place : kept) {
    Kept& one = all.emplace_back(Kept{places_[*place], {}});
    for (const Thread& thread : one.data.threads) {
      auto& calls = one.calls.emplace_back();
      for (uint32_t call = thread.call; call != 0; call = calls_[call].around) {
        calls.push_back(calls_[call].return_to);
      }
      std::reverse(calls.begin(), calls.end());
    }
  }
  clear();
  for (size_t i = 0; i < kept.size(); ++i) {
    for (size_t t = 0; t < all[i].calls.size(); ++t) {
      uint32_t call = 0;
      for (const uint32_t return_to : all[i].calls[t]) call = open(call, return_to);
      all[i].data.threads[t].call = call;
    }
    *kept[i] = number_of(std::move(all[i].data));
  }
}

}  // namespace hadal
