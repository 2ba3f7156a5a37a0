// Shared by the peers that only signal: requests and responses lie in memory, and a means of the system's says that
// one more has come.
#ifndef BATON_SIGNALLED_H
#define BATON_SIGNALLED_H

#define PEER_HANDS_OVER
#include "peer.h"

// Each peer's own: what it waits by.
struct signals;
static size_t signals_size(void);
static void signals_make(struct signals *signals);
// One more for the host (0) or the server (1).
static inline void post(struct signals *signals, unsigned to);
// Sleeps until there is one more, and takes it.
static inline void await(struct signals *signals, unsigned self);

struct channel {
  _Alignas(LINE_STRIDE) struct request requests[RING_SIZE];
  _Alignas(LINE_STRIDE) struct response responses[RING_SIZE];
  // The signals begin here.
  _Alignas(LINE_STRIDE) char rest[];
};

// How many this process has put into one of the two rings, and has got from the other.
static unsigned put, got;

static inline struct signals *signals_of(struct channel *channel) { return (struct signals *)channel->rest; }

static inline void submit(struct channel *channel, const struct request *request) {
  channel->requests[put++ % RING_SIZE] = *request;
  post(signals_of(channel), 1);
}

static inline void take(struct channel *channel, struct request *request) {
  await(signals_of(channel), 1);
  *request = channel->requests[got++ % RING_SIZE];
}

static inline void answer(struct channel *channel, const struct response *response) {
  channel->responses[put++ % RING_SIZE] = *response;
  post(signals_of(channel), 0);
}

static inline void collect(struct channel *channel, struct response *response) {
  await(signals_of(channel), 0);
  *response = channel->responses[got++ % RING_SIZE];
}

// The host begins with the right to go on: it gives first, and then waits until it comes back.
static inline void hand_over(struct channel *channel, unsigned self) {
  if (self == 1) await(signals_of(channel), 1);
  post(signals_of(channel), !self);
  if (self == 0) await(signals_of(channel), 0);
}

static size_t channel_size(void) { return sizeof(struct channel) + signals_size(); }

static void channel_make(struct channel *channel) { signals_make(signals_of(channel)); }

#endif
