#include "server/dialects/job_fields.h"

#include "server/limits.h"

namespace hadal {

RequestResult<void> read_stop_strings(const Json& value, std::string_view field, bool single,
                                      ChatJob& job) {
  constexpr ChatLimits kLimits;
  const auto wrong = [&] {
    return refuse_field(
        ErrorKind::kInvalid, std::string(field),
        fmt::format("{} must be {}a list of at most {} strings, each of 1 to {} bytes", field,
                    single ? "a string or " : "", kLimits.stop_strings_max,
                    kLimits.stop_string_bytes_max));
  };
  if (!value.is_array() && !single) return wrong();
  const Json list = value.is_array() ? value : Json::array({value});
  if (list.size() > kLimits.stop_strings_max) return wrong();
  for (const Json& entry : list) {
    if (!entry.is_string()) return wrong();
    const auto& text = entry.get_ref<const std::string&>();
    if (text.empty() || text.size() > kLimits.stop_string_bytes_max) return wrong();
    job.stop.push_back(text);
  }
  return {};
}

bool read_effort(std::string_view effort, ChatJob& job) {
  static constexpr struct {
    std::string_view name;
    bool on;
    uint32_t budget;  // 0: none
  } kEfforts[] = {{"none", false, 0},     {"minimal", true, 256}, {"low", true, 1024},
                  {"medium", true, 8192}, {"high", true, 0},      {"xhigh", true, 0},
                  {"max", true, 0}};
  for (const auto& known : kEfforts) {
    if (effort != known.name) continue;
    job.thinking = known.on ? Thinking::kOn : Thinking::kOff;
    if (known.budget > 0) job.thinking_budget = known.budget;
    return true;
  }
  return false;
}

}  // namespace hadal
