// What the system's sockets are asked for beyond Asio: plain handles, Linux.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hadal {

// For an accepted connection: small pieces go out at once; a peer that vanished without a word is
// noticed within two minutes; and of what is sent no more than about send_buffer_bytes lie in the
// system until the peer takes them (left to itself it would keep megabytes, and a whole answer
// would seem to have been read).
void prepare_accepted_socket(int handle, size_t send_buffer_bytes);

// Of all that was ever sent, what the peer's machine has taken; 0 where that is not known.
uint64_t bytes_taken_by_peer(int handle);

// The peer has ended its half, whether or not all before that end was read. False where that is not
// known.
bool peer_sends_no_more(int handle);

}  // namespace hadal
