// A pair of Unix sockets: requests and responses go through the kernel whole.
#define PEER_HANDS_OVER
#include <sys/socket.h>

#include "peer.h"

// Nothing of it lies in shared memory.
struct channel {
  char nothing;
};

// [0] is the host's, [1] the server's.
static int ends[2];

static size_t channel_size(void) { return sizeof(struct channel); }

static void channel_make(struct channel *channel) {
  (void)channel;
  // A stream: 255 datagrams would not fit into it by default (net.unix.max_dgram_qlen).
  check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
}

static inline void put(unsigned self, const void *bytes, size_t count) {
  if (check(send(ends[self], bytes, count, MSG_NOSIGNAL), "send") != (long)count) fail("send: not the whole of it");
}

static inline void get(unsigned self, void *bytes, size_t count) {
  if (check(recv(ends[self], bytes, count, MSG_WAITALL), "recv") != (long)count) fail("recv: not the whole of it");
}

static inline void submit(struct channel *channel, const struct request *request) {
  (void)channel;
  put(0, request, sizeof *request);
}

static inline void take(struct channel *channel, struct request *request) {
  (void)channel;
  get(1, request, sizeof *request);
}

static inline void answer(struct channel *channel, const struct response *response) {
  (void)channel;
  put(1, response, sizeof *response);
}

static inline void collect(struct channel *channel, struct response *response) {
  (void)channel;
  get(0, response, sizeof *response);
}

// The host begins with the right to go on: it gives first, and then waits until it comes back.
static inline void hand_over(struct channel *channel, unsigned self) {
  (void)channel;
  char right = 0;
  if (self == 1) get(1, &right, sizeof right);
  put(self, &right, sizeof right);
  if (self == 0) get(0, &right, sizeof right);
}
