// Walks a grammar byte by byte: where an answer may stand in it, remembered so that a place is
// worked out once. Not shared between threads.
//
// A place is a set of threads, each a state of the automaton with the calls it must return to; a
// deterministic automaton's worth of them is made as they are met, as lazily built regular
// expression matchers do it. Places have numbers; kDead is the one from which nothing goes on.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/grammar/automaton.h"

namespace hadal {

class GrammarWalk {
 public:
  using Place = uint32_t;
  static constexpr Place kDead = 0;

  // Memory: 1 KB a place, and its threads. Past one of these all is forgotten but what is kept.
  static constexpr size_t kPlacesMax = 4096;
  static constexpr size_t kThreadsInAllMax = 1 << 17;
  // Of one place. A grammar more ambiguous than that loses its last readings, not its first.
  static constexpr size_t kThreadsMax = 128;

  explicit GrammarWalk(const Automaton& automaton);

  Place start();

  Place next(Place place, uint8_t byte) {
    const Place known = rows_[size_t{place} * 256 + byte];
    return known != kUnknown ? known : find_next(place, byte);
  }

  bool may_end(Place place) const { return places_[place].may_end; }

  // Where a string stands whose characters are counted: how many more may come. kUncounted: no such
  // place.
  static constexpr uint32_t kUncounted = UINT32_MAX;
  uint32_t characters_left(Place place) const;

  // A place that allows the same bytes as this one, for texts of at most so many characters: places
  // that only differ in how far they are from the limits of a string's length are alike.
  Place alike(Place place, uint32_t characters);

  // It is time for forget().
  bool is_full() const { return places_.size() > kPlacesMax || threads_in_all_ > kThreadsInAllMax; }
  // Forgets all places but these, which get other numbers.
  void forget(std::span<Place*> kept);

 private:
  static constexpr Place kUnknown = UINT32_MAX;

  // An open call: where to return to, and the calls around it. 0: none.
  struct Call {
    uint32_t around, return_to, depth;
  };
  struct Thread {
    uint32_t call, state;
    uint32_t count;  // characters of the string it is in, where they are counted
    auto operator<=>(const Thread&) const = default;
  };
  struct PlaceData {
    std::vector<Thread> threads;
    bool may_end = false;
    bool operator==(const PlaceData&) const = default;
  };
  struct PlaceHash {
    size_t operator()(const PlaceData& place) const;
  };

  Place find_next(Place place, uint8_t byte);
  void add(PlaceData& to, Thread thread);
  uint32_t open(uint32_t around, uint32_t return_to);
  Place number_of(PlaceData place);
  void clear();

  const Automaton& automaton_;
  std::vector<Call> calls_;
  std::unordered_map<uint64_t, uint32_t> call_numbers_;
  std::vector<PlaceData> places_;
  std::unordered_map<PlaceData, Place, PlaceHash> place_numbers_;
  std::vector<Place> rows_;  // [places][256]
  size_t threads_in_all_ = 0;
  std::vector<Thread> pending_, visited_;  // of add()
};

}  // namespace hadal
