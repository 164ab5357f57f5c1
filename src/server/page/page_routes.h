// The page's addresses: / is index.html, /page/FILE the rest. Open to whoever reaches the port: the
// files hold nothing but what the program is published with. What they ask for needs a key.
#pragma once

#include <string_view>
#include <vector>

#include "server/http/router.h"

namespace hadal {

// A page must have this policy to be served: everything from here, no inline script or style, no
// string that becomes code or elements, no frame around it.
inline constexpr std::string_view kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

std::vector<Route> page_routes();

// path: as PageFile has it. 404 where there is none, 304 where the browser's copy is right.
WebReply page_reply(std::string_view path, const WebRequest& request);

}  // namespace hadal
