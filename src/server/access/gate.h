// The judge of every request before its body is read: is it meant for this server, may a page of
// that origin ask, has its sender a key and not used up what the key may take. On the I/O thread.
#pragma once

#include <memory>

#include "server/access/host_rules.h"
#include "server/access/key_ring.h"
#include "server/http/connection.h"

namespace hadal {

// Host, Origin, CORS's questions beforehand, then keys: with keys every route asks for one but
// those of Access::kOpen; addresses that are none ask for one, too. What a key's limits count are
// the requests that may cost something: those that are not GET or HEAD.
Gate make_gate(HostRules rules, std::shared_ptr<KeyRing> keys);

}  // namespace hadal
