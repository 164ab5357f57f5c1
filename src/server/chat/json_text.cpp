#include "server/chat/json_text.h"

#include <set>
#include <vector>

#include "server/chat/fields.h"

namespace hadal {
namespace {

// Counts without building, and says how many names there are. In a text that is no JSON the counts
// may be too high, never too low.
RequestResult<uint64_t> check_shape(std::string_view text, const JsonTextLimits& limits) {
  std::vector<uint32_t> members{0};  // of each list or object that is open
  uint32_t values = 1;
  uint64_t names = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    switch (c) {
      case '"':
        in_string = true;
        break;
      case '{':
      case '[':
        if (members.size() > limits.depth_max) {
          return refuse(ErrorKind::kInvalid, "the body nests deeper than {} levels",
                        limits.depth_max);
        }
        members.push_back(0);
        ++values;
        break;
      case '}':
      case ']':
        if (members.size() > 1) members.pop_back();
        break;
      case ',':
        ++values;
        break;
      case ':':
        ++names;
        if (++members.back() > limits.keys_max) {
          return refuse(ErrorKind::kInvalid, "an object of the body has more than {} keys",
                        limits.keys_max);
        }
        break;
      default:
        break;
    }
    if (values > limits.values_max) {
      return refuse(ErrorKind::kInvalid, "the body has more than {} values", limits.values_max);
    }
  }
  return names;
}

// Names that a value has kept.
uint64_t names_in(const Json& value) {
  if (!value.is_structured()) return 0;
  uint64_t names = value.is_object() ? value.size() : 0;
  for (const Json& member : value) names += names_in(member);
  return names;
}

// Reads a text as far as the first name that an object has twice. Slow beside building: only for
// texts that are known to have one.
class TwiceFinder : public nlohmann::json_sax<Json> {
 public:
  const std::string& path() const { return path_; }  // "": there is none

  bool null() override { return next(); }
  bool boolean(bool) override { return next(); }
  bool number_integer(number_integer_t) override { return next(); }
  bool number_unsigned(number_unsigned_t) override { return next(); }
  bool number_float(number_float_t, const string_t&) override { return next(); }
  bool string(string_t&) override { return next(); }
  bool binary(binary_t&) override { return next(); }
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }
  bool key(string_t& name) override {
    Level& level = levels_.back();
    level.name = name;
    if (level.names.insert(name).second) return true;
    for (const Level& outer : levels_) {
      path_ = outer.list ? fmt::format("{}[{}]", path_, outer.entry)
                         : field_path(path_, shown_name(outer.name));
    }
    return false;
  }

 private:
  struct Level {
    bool list = false;
    size_t entry = 0;             // of a list, the one that is read
    std::string name;             // of an object, the last one
    std::set<std::string> names;  // all
  };
  bool open(bool list) {
    levels_.push_back({.list = list, .name = {}, .names = {}});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return next();
  }
  bool next() {
    if (!levels_.empty()) ++levels_.back().entry;
    return true;
  }

  std::vector<Level> levels_;
  std::string path_;
};

// A value keeps of equal names only one: that a name stands twice shows by the count.
RequestResult<void> check_names(std::string_view text, uint64_t names, const Json& value) {
  if (names_in(value) == names) return {};
  TwiceFinder finder;
  Json::sax_parse(text, &finder);
  return refuse_field(ErrorKind::kInvalid, finder.path(),
                      fmt::format("{} stands twice in the body", finder.path()));
}

}  // namespace

RequestResult<nlohmann::ordered_json> parse_json(std::string_view text,
                                                 const JsonTextLimits& limits) {
  const auto names = check_shape(text, limits);
  if (!names) return tl::unexpected(names.error());
  try {
    Json value = Json::parse(text);
    if (auto once = check_names(text, *names, value); !once) return tl::unexpected(once.error());
    return value;
  } catch (const nlohmann::json::parse_error& error) {
    return refuse(ErrorKind::kInvalid, "the body is no JSON: it goes wrong at byte {}", error.byte);
  } catch (const nlohmann::json::exception&) {
    return refuse(ErrorKind::kInvalid, "the body has a number that is too large");
  }
}

RequestResult<nlohmann::ordered_json> parse_json_object(std::string_view text,
                                                        const JsonTextLimits& limits) {
  auto value = parse_json(text, limits);
  if (value && !value->is_object()) {
    return refuse(ErrorKind::kInvalid, "the body is no JSON object");
  }
  return value;
}

}  // namespace hadal
