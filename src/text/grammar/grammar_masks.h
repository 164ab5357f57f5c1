// Masks of a grammar for a model's vocabulary: at each place of an answer, which tokens keep it in
// the grammar. What was worked out for one answer serves all others of the same grammar: memory is
// bounded, some 12 MB a grammar at most.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "text/grammar/grammar.h"
#include "text/grammar/grammar_walk.h"
#include "text/grammar/token_mask.h"
#include "text/grammar/token_trie.h"

namespace hadal {

// Any thread may start masks; each is used by one thread at a time (token_mask.h). Masks of one
// GrammarMasks exclude each other for the time of a call.
class GrammarMasks : public std::enable_shared_from_this<GrammarMasks> {
 public:
  static constexpr size_t kMasksMax = 128;  // remembered, vocabulary / 8 bytes each

  static std::shared_ptr<GrammarMasks> make(std::shared_ptr<const Grammar> grammar,
                                            std::shared_ptr<const TokenTrie> trie);

  // At the beginning of an answer. The mask keeps this object alive.
  std::unique_ptr<TokenMask> start();

  // Whether the grammar accepts a text, without tokens; for tests and for who wants to know.
  bool accepts(std::string_view text);

 private:
  class Mask;
  using Place = GrammarWalk::Place;
  static constexpr size_t kNoSlot = SIZE_MAX;

  GrammarMasks(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie);
  void begin(Mask& mask);
  void end(Mask& mask);
  Place step(Place place, std::string_view bytes);
  std::span<const uint32_t> mask_of(const Place& answer);
  void work_out(std::span<uint32_t> bits);
  void add_tokens(std::span<const TokenTrie::Node> tree, std::span<uint32_t> bits);
  void add_twins(std::span<uint32_t> bits) const;
  bool goes_on_with_any_character(Place place);
  void make_room(size_t path);

  const std::shared_ptr<const Grammar> grammar_;
  const std::shared_ptr<const TokenTrie> trie_;
  std::mutex mutex_;  // of all below
  GrammarWalk walk_;
  std::vector<Mask*> started_;
  std::vector<Place> path_;          // what is looked at, and behind each byte of a token
  std::vector<uint32_t> work_;       // [words]
  std::vector<uint32_t> bits_;       // [slots][words]
  std::vector<Place> slot_places_;   // [slots]
  std::vector<size_t> place_slots_;  // [places], kNoSlot where none
  size_t next_slot_ = 0;
};

}  // namespace hadal
