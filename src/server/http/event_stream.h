// Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): what a
// streamed answer is made of. The data is JSON on one line.
#pragma once

#include <string>
#include <string_view>

namespace hadal {

inline constexpr std::string_view kEventStreamHeartbeat = ": still here\n\n";

// data: without line breaks (JSON's are escaped). event: "" for dialects that name none.
std::string event(std::string_view data, std::string_view name = {});

}  // namespace hadal
