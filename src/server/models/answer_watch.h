// What becomes of the answers of all models, for whoever counts. Called on engine threads, for
// different models at once; to take microseconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/engine.h"

namespace hadal {

struct FinishedAnswer {
  std::string_view model;
  uint64_t fairness_key = 0;  // of whose request it was
  FinishReason reason = FinishReason::kEndToken;
  Usage usage;
  double seconds = 0;                   // from its submission on
  std::optional<double> first_seconds;  // until its first piece; none: there was none
};

class AnswerWatch {
 public:
  virtual ~AnswerWatch() = default;
  virtual void on_first(std::string_view model, double seconds) = 0;  // since its submission
  virtual void on_next(std::string_view model, double seconds) = 0;   // since the piece before
  virtual void on_finish(const FinishedAnswer& answer) = 0;           // once each
};

}  // namespace hadal
