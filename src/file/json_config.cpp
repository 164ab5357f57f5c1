#include "file/json_config.h"

#include <optional>
#include <utility>

#include "base/utf8.h"
#include "file/json_events.h"

namespace hadal {
namespace {

constexpr JsonLimits kLimits = {.depth_max = 16, .keys_max = 65536};

class Flattener : public JsonEvents {
 public:
  Flattener(const std::string& file, std::string_view prefix, Metadata& metadata,
            std::vector<std::unique_ptr<std::string>>& owned, std::vector<std::string>& warnings)
      : file_(file), metadata_(metadata), owned_(owned), warnings_(warnings), path_(prefix) {}

  Status null() override {
    if (list_) mixed_ = true;
    return {};
  }
  Status boolean(bool value) override { return value_of(value); }
  Status integer(int64_t value) override { return value_of(value); }
  Status unsigned_integer(uint64_t value) override {
    // Lists hold one type of integer: the signed one, as far as it goes.
    if (list_ && value <= static_cast<uint64_t>(INT64_MAX))
      return value_of(static_cast<int64_t>(value));
    return value_of(value);
  }
  Status number(double value) override { return value_of(value); }
  Status string(std::string_view value) override {
    if (skipped_lists_ > 0) return {};
    owned_.push_back(std::make_unique<std::string>(value));
    return value_of(std::string_view(*owned_.back()));
  }

  Status key(std::string_view key) override {
    if (!is_plain_name(key)) return fail("{}: the key {} is not a plain name", file_, quote(key));
    key_ = key;
    return {};
  }

  Status begin_object() override {
    if (list_) {
      mixed_ = true;
      ++skipped_lists_;
      return {};
    }
    if (objects_.empty()) {
      objects_.push_back(path_.size());
      return {};
    }
    objects_.push_back(path_.size());
    path_ += key_ + ".";
    return {};
  }

  Status end_object() override {
    if (list_) {
      --skipped_lists_;
      return {};
    }
    path_.resize(objects_.back());
    objects_.pop_back();
    return {};
  }

  Status begin_list() override {
    if (objects_.empty()) return not_an_object();
    if (list_) {
      mixed_ = true;
      ++skipped_lists_;
      return {};
    }
    list_.emplace();
    list_key_ = path_ + key_;
    mixed_ = false;
    return {};
  }

  Status end_list() override {
    if (skipped_lists_ > 0) {
      --skipped_lists_;
      return {};
    }
    MetadataArray list = std::move(*list_);
    list_.reset();
    if (mixed_) {
      warnings_.push_back(
          fmt::format("{}: the list {} holds values of several kinds and is left out", file_,
                      quote(list_key_)));
      return {};
    }
    return keep(std::move(list_key_), std::move(list));
  }

 private:
  tl::unexpected<Error> not_an_object() const {
    return fail("{}: is not a JSON object; the file is not what its name says", file_);
  }

  template <typename Value>
  Status value_of(Value value) {
    if (objects_.empty()) return not_an_object();
    if (!list_) return keep(path_ + key_, value);
    if (skipped_lists_ == 0 && !append(value)) mixed_ = true;
    return {};
  }

  // False: the list holds values of another kind. Whole numbers among fractions ([1, 0.5]) are
  // fractions too.
  template <typename Value>
  bool append(Value value) {
    const bool empty = std::visit([](const auto& values) { return values.empty(); }, *list_);
    if (empty) *list_ = std::vector<Value>();
    if (auto* same = std::get_if<std::vector<Value>>(&*list_)) {
      same->push_back(value);
      return true;
    }
    if constexpr (std::is_same_v<Value, double>) {
      if (auto* integers = std::get_if<std::vector<int64_t>>(&*list_)) {
        std::vector<double> numbers(integers->begin(), integers->end());
        numbers.push_back(value);
        *list_ = std::move(numbers);
        return true;
      }
    }
    if constexpr (std::is_same_v<Value, int64_t>) {
      if (auto* numbers = std::get_if<std::vector<double>>(&*list_)) {
        numbers->push_back(static_cast<double>(value));
        return true;
      }
    }
    return false;
  }

  // Keys that come twice in one object are refused by the reader; these are {"a.b": 1, "a": {"b":
  // 2}}.
  Status keep(std::string key, MetadataValue value) {
    if (key.size() > kKeyBytesMax)
      return fail("{}: a key of {} bytes; at most {} are read", file_, key.size(), kKeyBytesMax);
    if (metadata_.insert(key, std::move(value))) return {};
    return fail("{}: the key {} is there twice", file_, quote(key));
  }

  static constexpr size_t kKeyBytesMax = 65535;

  const std::string& file_;
  Metadata& metadata_;
  std::vector<std::unique_ptr<std::string>>& owned_;
  std::vector<std::string>& warnings_;
  std::string path_;             // of the open object: "rope_scaling."
  std::string key_;              // of the value to come
  std::vector<size_t> objects_;  // for each open object, the length of the path around it
  std::optional<MetadataArray> list_;
  std::string list_key_;
  bool mixed_ = false;          // the open list cannot be held
  uint32_t skipped_lists_ = 0;  // lists and objects open inside it
};

}  // namespace

Status add_json_config(std::string_view text, const std::string& file, std::string_view prefix,
                       Metadata& metadata, std::vector<std::unique_ptr<std::string>>& owned,
                       std::vector<std::string>& warnings) {
  Flattener flattener(file, prefix, metadata, owned, warnings);
  return read_json(text, file, flattener, kLimits);
}

}  // namespace hadal
