// The judge of every request before its body is read: is it meant for this server, may its sender
// ask this.
#pragma once

#include "server/access/host_rules.h"
#include "server/http/connection.h"

namespace hadal {

// Host and Origin. Keys are a further judge, in front of which this one stands.
Gate make_gate(HostRules rules);

}  // namespace hadal
