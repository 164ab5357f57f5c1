#include "server/access/gate.h"

namespace hadal {

Gate make_gate(HostRules rules) {
  return [rules = std::move(rules)](WebRequest& head, const Route*) -> std::optional<GateRefusal> {
    const std::string_view host = head.header("host");
    if (!host_is_ours(host, rules)) {
      return GateRefusal{403, "the Host header does not name this server", {}};
    }
    if (!origin_is_welcome(head.header("origin"), host, rules)) {
      return GateRefusal{403, "pages of other origins may not ask this server", {}};
    }
    return std::nullopt;
  };
}

}  // namespace hadal
