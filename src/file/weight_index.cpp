#include "file/weight_index.h"

#include "base/utf8.h"
#include "file/json_events.h"

namespace hadal {
namespace {

constexpr JsonLimits kLimits = {.depth_max = 16, .keys_max = (1 << 20) + 1024};

// Takes the strings of "weight_map" and lets everything else pass ("metadata" holds whatever the
// writer liked).
class IndexReader : public JsonEvents {
 public:
  explicit IndexReader(const std::string& file) : file_(file) {}

  Result<WeightIndex> take() {
    if (index_.empty())
      return fail("{}: has no weight_map, or an empty one; the file is damaged", file_);
    return std::move(index_);
  }

  Status null() override { return other_value(); }
  Status boolean(bool) override { return other_value(); }
  Status integer(int64_t) override { return other_value(); }
  Status unsigned_integer(uint64_t) override { return other_value(); }
  Status number(double) override { return other_value(); }

  Status string(std::string_view value) override {
    if (!in_map_) return other_value();
    if (!is_plain_name(value) || value.find('/') != std::string_view::npos ||
        !value.ends_with(".safetensors")) {
      return fail("{}: tensor {} is said to be in {}, which is not the name of a safetensors file",
                  file_, quote(key_), quote(value));
    }
    index_.emplace(key_, value);  // new: the reader refuses a key that comes twice
    return {};
  }

  Status key(std::string_view key) override {
    key_ = key;
    return {};
  }

  Status begin_object() override {
    if (in_map_) return other_value();
    ++depth_;
    in_map_ = depth_ == 2 && key_ == "weight_map";
    return {};
  }
  Status end_object() override { return leave(); }

  Status begin_list() override {
    if (in_map_ || depth_ == 0) return other_value();
    ++depth_;
    return {};
  }
  Status end_list() override { return leave(); }

 private:
  Status leave() {
    --depth_;
    in_map_ = false;  // it ends with the object; nothing is open inside it
    return {};
  }

  Status other_value() const {
    if (in_map_)
      return fail("{}: the weight_map does not give a file name for tensor {}", file_, quote(key_));
    if (depth_ == 0) return fail("{}: is not a JSON object", file_);
    return {};
  }

  const std::string& file_;
  WeightIndex index_;
  std::string key_;
  int depth_ = 0;
  bool in_map_ = false;
};

}  // namespace

Result<WeightIndex> read_weight_index(std::string_view text, const std::string& file) {
  IndexReader reader(file);
  HADAL_TRY_VOID(read_json(text, file, reader, kLimits));
  return reader.take();
}

}  // namespace hadal
