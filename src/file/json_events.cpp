#include "file/json_events.h"

#include <optional>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"

namespace hadal {
namespace {

// Stands between the library's parser and the receiver: keeps the limits, and carries the
// receiver's error past the parser, which knows only "go on" and "stop".
class Guard : public nlohmann::json_sax<nlohmann::json> {
 public:
  Guard(const std::string& file, JsonEvents& events, const JsonLimits& limits)
      : file_(file), events_(events), limits_(limits) {}

  Status outcome() const {
    if (error_) return tl::unexpected<Error>(*error_);
    return {};
  }

  bool null() override { return pass(events_.null()); }
  bool boolean(bool value) override { return pass(events_.boolean(value)); }
  bool number_integer(int64_t value) override { return pass(events_.integer(value)); }
  bool number_unsigned(uint64_t value) override { return pass(events_.unsigned_integer(value)); }
  bool number_float(double value, const std::string&) override {
    return pass(events_.number(value));
  }
  bool string(std::string& value) override { return pass(events_.string(value)); }
  bool binary(nlohmann::json::binary_t&) override { return pass(fail("{}: binary JSON", file_)); }

  bool key(std::string& key) override {
    if (++keys_ > limits_.keys_max) {
      return pass(fail("{}: has more than {} keys, which is the limit", file_, limits_.keys_max));
    }
    if (!open_.back().insert(key).second)
      return pass(fail("{}: the key {} is there twice", file_, quote(key)));
    return pass(events_.key(key));
  }

  bool start_object(size_t) override { return enter() && pass(events_.begin_object()); }
  bool end_object() override { return leave() && pass(events_.end_object()); }
  bool start_array(size_t) override { return enter() && pass(events_.begin_list()); }
  bool end_array() override { return leave() && pass(events_.end_list()); }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return pass(
        fail("{}: is not valid JSON: an error at byte {}; the file is damaged or cut off, download "
             "it again",
             file_, position));
  }

 private:
  bool pass(Status status) {
    if (!status) error_ = std::move(status.error());
    return !error_;
  }

  bool enter() {
    if (open_.size() >= limits_.depth_max) {
      return pass(fail("{}: is nested deeper than {} levels, which is the limit", file_,
                       limits_.depth_max));
    }
    open_.emplace_back();
    return true;
  }

  bool leave() {
    open_.pop_back();
    return true;
  }

  const std::string& file_;
  JsonEvents& events_;
  const JsonLimits& limits_;
  std::vector<std::unordered_set<std::string>>
      open_;  // the keys of each open object; nothing for a list
  uint64_t keys_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Status read_json(std::string_view text, const std::string& file, JsonEvents& events,
                 const JsonLimits& limits) {
  Guard guard(file, events, limits);
  nlohmann::json::sax_parse(text.begin(), text.end(), &guard);
  return guard.outcome();
}

}  // namespace hadal
