#include "server/http/peer_socket.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace hadal {

namespace {

void set_option(int handle, int level, int option, int value) {
  setsockopt(handle, level, option, &value, sizeof(value));
}

tcp_info info_of(int handle) {
  tcp_info info{};
  socklen_t bytes = sizeof(info);
  getsockopt(handle, IPPROTO_TCP, TCP_INFO, &info, &bytes);
  return info;
}

}  // namespace

void prepare_accepted_socket(int handle, size_t send_buffer_bytes) {
  set_option(handle, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(handle, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(handle, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set_option(handle, IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set_option(handle, IPPROTO_TCP, TCP_KEEPCNT, 4);
  set_option(handle, SOL_SOCKET, SO_SNDBUF, static_cast<int>(send_buffer_bytes));
}

uint64_t bytes_taken_by_peer(int handle) {
  return info_of(handle).tcpi_bytes_acked;
}

bool peer_sends_no_more(int handle) {
  constexpr uint8_t kCloseWait = 8;  // the kernel's include/net/tcp_states.h; RFC 9293, 3.3.2
  return info_of(handle).tcpi_state == kCloseWait;
}

}  // namespace hadal
