#include "file/json_tree.h"

#include "base/json.h"

namespace hadal {

Result<nlohmann::json> read_json_tree(std::string_view text, const std::string& from,
                                      int depth_max) {
  using Json = nlohmann::json;
  bool too_deep = false;
  Json json = Json::parse(
      text.begin(), text.end(),
      [&](int depth, Json::parse_event_t event, Json&) {
        const bool begins =
            event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
        too_deep = too_deep || (begins && depth >= depth_max);
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  if (too_deep) return fail("{}: is nested deeper than {} levels", from, depth_max);
  if (json.is_discarded()) return fail("{}: is no valid JSON", from);
  return json;
}

}  // namespace hadal
